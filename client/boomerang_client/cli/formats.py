"""Jobs as lines of JSON, or as rows of a table: the columns of the service's own `format=csv`."""

import csv
import io
import json
from collections.abc import Callable, Mapping

from boomerang_client.records import Job

COLUMNS = (
    "id", "status", "model", "cost", "output", "error_code", "error_message", "attempt", "external_task_id",
    "created_at", "finished_at", "settled_by", "labels",
)  # fmt: skip


def ndjson(job: Job | None) -> str:
    """A job's line; the heading, which there is none of, for None."""
    return "" if job is None else json.dumps(job.raw) + "\n"


def row(job: Job | None) -> str:
    """A job's row; the heading for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(COLUMNS if job is None else _cells(job))
    return text.getvalue()


WRITERS: Mapping[str, Callable[[Job | None], str]] = {"ndjson": ndjson, "csv": row}


def _cells(job: Job) -> tuple[str, ...]:
    return (
        job.id,
        job.status.value,
        job.model,
        format(job.cost, "f") if job.cost is not None else "",
        " ".join(one.url for one in job.output),
        _inert(job.error.code if job.error else ""),
        _inert(job.error.message if job.error else ""),
        str(job.attempt),
        job.external_task_id or "",
        job.created_at.isoformat() if job.created_at else "",
        job.finished_at.isoformat() if job.finished_at else "",
        job.settled_by or "",
        json.dumps(dict(job.labels), ensure_ascii=False) if job.labels else "",
    )


def _inert(text: str) -> str:
    """The provider's words, which a spreadsheet must not take for a formula (OWASP, "CSV Injection")."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
