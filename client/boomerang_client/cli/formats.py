"""Write jobs as NDJSON, or as CSV with the columns of the service's `format=csv`."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from boomerang_client.cli.csv_text import csv_text
from boomerang_client.records import Job

COLUMNS = (
    "id", "status", "model", "cost", "output", "error_code", "error_message", "attempt", "external_task_id",
    "created_at", "finished_at", "settled_by", "labels", "warnings", "watermarked", "source", "saved_at",
    "sha256", "class", "revision", "provider_external_id",
)  # fmt: skip


def ndjson_line(job: Job | None) -> str:
    """Write a job as a line of JSON. None stands for the heading, which NDJSON does not have."""
    return "" if job is None else json.dumps(job.raw) + "\n"


@dataclass(frozen=True)
class RequestColumns:
    """Further columns of CSV, of jobs with their requests: the prompt, and one for each label and text of metadata."""

    labels: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()

    @property
    def heading(self) -> tuple[str, ...]:
        """The names of the columns. No label or metadata can have that of another column."""
        labels = (f"labels.{name}" for name in self.labels)
        return ("prompt", *labels, *(f"metadata.{name}" for name in self.metadata))

    def cells(self, job: Job) -> tuple[str, ...]:
        """Return the cells of a job."""
        request = job.request or {}
        metadata = request.get("metadata") or {}
        return (
            str(request.get("prompt") or ""),
            *(job.labels.get(name, "") for name in self.labels),
            *(str(metadata.get(name, "")) for name in self.metadata),
        )


def columns_of(jobs: Iterable[Job]) -> RequestColumns:
    """Find the columns that jobs with their requests need."""
    labels, metadata = dict[str, None](), dict[str, None]()
    for job in jobs:
        for names, given in ((labels, job.labels), (metadata, (job.request or {}).get("metadata") or {})):
            if len(names) < _MOST_NAMES:
                names.update(dict.fromkeys(given))
    return RequestColumns(tuple(labels)[:_MOST_NAMES], tuple(metadata)[:_MOST_NAMES])


def csv_writer(more: RequestColumns | None) -> Callable[[Job | None], str]:
    """Return a function that writes a job as a row of CSV, with further columns. None stands for the heading."""

    def write(job: Job | None) -> str:
        if job is None:
            return csv_text([(*COLUMNS, *(more.heading if more else ()))])
        return csv_text([(*_cells(job), *(more.cells(job) if more else ()))])

    return write


FORMATS = ("ndjson", "csv")
#: Without further columns.
csv_row = csv_writer(None)
#: Columns of labels, and of metadata, as in the service's CSV.
_MOST_NAMES = 256


def _cells(job: Job) -> tuple[str, ...]:
    return (
        job.id,
        job.status.value,
        job.model,
        format(job.cost, "f") if job.cost is not None else "",
        " ".join(one.url for one in job.output),
        job.error.code if job.error else "",
        job.error.message if job.error else "",
        str(job.attempt),
        job.external_task_id or "",
        job.created_at.isoformat() if job.created_at else "",
        job.finished_at.isoformat() if job.finished_at else "",
        job.settled_by or "",
        json.dumps(dict(job.labels), ensure_ascii=False) if job.labels else "",
        "; ".join(each.message for each in job.warnings),
        " ".join(one.watermark_url for one in job.output if one.watermark_url),
        " ".join(one.source_url for one in job.output if one.source_url),
        next((one.saved_at.isoformat() for one in job.output if one.saved_at), ""),
        " ".join(one.sha256 for one in job.output if one.sha256),
        job.failure or "",
        str(job.revision),
        job.provider_external_id or "",
    )
