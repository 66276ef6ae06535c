"""The columns of CSV results that describe requests: the prompt, and one for each label and each text of metadata.

The names of labels and metadata come from producers. Below their prefix they cannot be taken for another column, and a
table with these headings can be enqueued again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobs.job import Job
from jobs.serializers import read_request

#: Columns of each kind. The column `labels` has all labels anyway, and `format=ndjson` all metadata.
MOST_NAMES = 256


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """The columns for some jobs: `labels` and `metadata` are the names that occur, in their order of appearance."""

    labels: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Self:
        """Find the columns that jobs need, which were read with their requests. Keeps none of them."""
        labels, metadata = dict[str, None](), dict[str, None]()
        for job in jobs:
            for names, given in ((labels, job.labels), (metadata, _metadata(_request(job)))):
                if len(names) < MOST_NAMES:
                    names.update(dict.fromkeys(given))
        return cls(tuple(labels)[:MOST_NAMES], tuple(metadata)[:MOST_NAMES])

    @property
    def heading(self) -> Sequence[str]:
        """The names of the columns."""
        return (
            "prompt",
            *(f"labels.{name}" for name in self.labels),
            *(f"metadata.{name}" for name in self.metadata),
        )

    def cells(self, job: Job) -> Sequence[str]:
        """Return the cells of a job."""
        request = _request(job)
        metadata = _metadata(request)
        return (
            str(request.get("prompt", "")),
            *(job.labels.get(name, "") for name in self.labels),
            *(metadata.get(name, "") for name in self.metadata),
        )


def _request(job: Job) -> Mapping[str, Any]:
    return read_request(job, job.text or "") or {}


def _metadata(request: Mapping[str, Any]) -> Mapping[str, str]:
    found = request.get("metadata")
    return found if isinstance(found, dict) else {}
