"""Corrected requests from a file, for jobs that failed: what each row changes, and what came of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boomerang_client.cli.columns import with_defaults
from boomerang_client.cli.csv_text import safe_cell
from boomerang_client.client import Client
from boomerang_client.errors import ApiError, BoomerangError, LineError, ServiceUnavailable, TooBusy, Unauthorized
from boomerang_client.image_folders import Folders
from boomerang_client.local_images import ImagesRefused
from boomerang_client.ndjson import Numbered, parse_request
from boomerang_client.records import Job

#: Errors after which the other rows would fail as well.
_FOR_ALL = (ServiceUnavailable, TooBusy, Unauthorized)


@dataclass(frozen=True)
class Row:
    """A row of the file: the members of the request that it gives, or why it cannot be used."""

    number: int
    members: Mapping[str, Any] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Corrected:
    """What came of a job or row. `outcome`: queued, unchanged, refused, skipped, missing (the job has no row)."""

    outcome: str
    id: str
    row: int | None = None
    detail: str = ""


def read_rows(lines: Iterable[Numbered]) -> tuple[dict[str, Row], list[Corrected]]:
    """Read the rows of a file by the id of their job, and list those that cannot be used.

    A row is a request with an `external_task_id`; or a job as `boomerang results` writes it, with its `id`, whose
    `request` was included.
    """
    rows: dict[str, Row] = {}
    bad: list[Corrected] = []
    for number, line in lines:
        id_, row = _row(number, line)
        if id_ in rows and not row.problem:
            row = Row(number, problem=f"{id_} is in row {rows[id_].number} already; leave one of them out")
        if row.problem:
            bad.append(Corrected("refused", id_, number, row.problem))
        elif row.members is not None:
            rows[id_] = row
    return rows, bad


def correct(
    client: Client, jobs: Iterable[Job], rows: Mapping[str, Row], folder: Folders | None, *, dry_run: bool
) -> Iterator[Corrected]:
    """Send each job, which includes its request, again with what its row changes; yield what came of each.

    The same rows again change nothing. Raises errors that concern all rows, such as ServiceUnavailable.
    """
    left = dict(rows)
    for job in jobs:
        row = left.pop(job.id, None)
        if row is None:
            yield Corrected("missing", job.id, None, "has no row in the file")
        elif job.request is None:
            yield Corrected("refused", job.id, row.number, "the service did not return its request")
        else:
            yield _send(client, job, row, folder, dry_run=dry_run)
    for id_, row in left.items():
        yield Corrected("skipped", id_, row.number, "is not among the jobs to retry")


def _send(client: Client, job: Job, row: Row, folder: Folders | None, *, dry_run: bool) -> Corrected:
    before = job.request or {}
    request = with_defaults(before, _as_before(before, row.members or {}))
    if request == before:
        return Corrected("unchanged", job.id, row.number, "has the same request as before")
    if dry_run:
        return Corrected("queued", job.id, row.number)
    try:
        sent = client.retry(job.id, request, folder=folder)
    except _FOR_ALL:
        raise
    except ImagesRefused as error:
        return Corrected("refused", job.id, row.number, _fields(error.errors))
    except ApiError as error:
        return Corrected("refused", job.id, row.number, _fields(error.errors) or str(error))
    except BoomerangError as error:
        return Corrected("refused", job.id, row.number, str(error))
    return Corrected("queued", job.id, row.number, f"revision {sent.revision}")


def _as_before(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a row, with the text of before where CSV only wrote it in another way (csv_text)."""
    return {name: _restored(before.get(name), value) for name, value in given.items()}


def _restored(before: Any, value: Any) -> Any:
    if isinstance(before, Mapping) and isinstance(value, Mapping):
        return _as_before(before, value)
    return before if isinstance(before, str) and isinstance(value, str) and safe_cell(before) == value else value


def _row(number: int, line: Any) -> tuple[str, Row]:
    if isinstance(line, LineError):
        return "", Row(number, problem=_fields(line.errors))
    given = parse_request(line)
    if given is None:
        return "", Row(number, problem="is not a JSON object" if line.strip() else "")
    included = given.get("request")
    if included is None and "status" in given:
        return "", Row(number, problem="has no request: write the results with --include request")
    members = dict(included) if isinstance(included, Mapping) else dict(given)
    id_ = given.get("external_task_id") or given.get("id")
    if not isinstance(id_, str) or not id_:
        return "", Row(number, problem="names no job: give its id as external_task_id")
    members.pop("external_task_id", None)
    return id_, Row(number, members)


def _fields(errors: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(f"{name}: {', '.join(texts)}" for name, texts in errors.items())
