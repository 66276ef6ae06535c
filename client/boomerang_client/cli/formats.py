"""Write jobs as NDJSON, or as CSV with the columns of the service's `format=csv`."""

import json
from collections.abc import Callable, Mapping

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


def csv_row(job: Job | None) -> str:
    """Write a job as a row of CSV. None stands for the heading."""
    return csv_text([COLUMNS if job is None else _cells(job)])


WRITERS: Mapping[str, Callable[[Job | None], str]] = {"ndjson": ndjson_line, "csv": csv_row}


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
