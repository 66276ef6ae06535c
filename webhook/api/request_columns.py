"""The columns of CSV results that describe requests: the prompt, and one for each label and each text of metadata.

The names of labels and metadata come from producers. Below their prefix they cannot be taken for another column, and a
table with these headings can be enqueued again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from jobs.job import Job
from jobs.serializers.requests import read_request

#: Columns of each kind. The column `labels` has all labels anyway, and `metadata` the texts without a column.
MOST_NAMES = 256


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """The columns for some jobs: `labels` and `metadata` are the names that occur, in their order of appearance.

    `complete`: no other job has other names. Otherwise the column `metadata` has the texts without a column, as JSON.
    """

    labels: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    complete: bool = True

    @classmethod
    def of(cls, jobs: Iterable[Job], *, complete: bool = True) -> Self:
        """Find the columns that jobs need, which were read with their requests. Keeps none of them.

        `complete`: whether these are all jobs.
        """
        labels, metadata = dict[str, None](), dict[str, None]()
        for job in jobs:
            for names, given in ((labels, job.labels), (metadata, _metadata(_request(job)))):
                if len(names) <= MOST_NAMES:
                    names.update(dict.fromkeys(given))
        complete = complete and len(metadata) <= MOST_NAMES
        return cls(tuple(labels)[:MOST_NAMES], tuple(metadata)[:MOST_NAMES], complete)

    @property
    def heading(self) -> Sequence[str]:
        """The names of the columns."""
        return (
            "prompt",
            *(f"labels.{name}" for name in self.labels),
            *(f"metadata.{name}" for name in self.metadata),
            *(() if self.complete else ("metadata",)),
        )

    def cells(self, job: Job) -> Sequence[str]:
        """Return the cells of a job."""
        request = _request(job)
        metadata = _metadata(request)
        others = {name: text for name, text in metadata.items() if name not in self.metadata}
        rest = json.dumps(others, ensure_ascii=False) if others else ""
        return (
            str(request.get("prompt", "")),
            *(job.labels.get(name, "") for name in self.labels),
            *(metadata.get(name, "") for name in self.metadata),
            *(() if self.complete else (rest,)),
        )


def _request(job: Job) -> Mapping[str, Any]:
    return read_request(job, job.text or "") or {}


def _metadata(request: Mapping[str, Any]) -> Mapping[str, str]:
    found = request.get("metadata")
    return found if isinstance(found, dict) else {}
