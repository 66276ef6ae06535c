"""Corrections from the lines of a draft: which job each line names, and what it changes in the job's request.

The rules are those of the client's `boomerang retry BATCH --from FILE`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from schemas import BodyInvalid, parse_json
from webhook.drafts.columns import AS_METADATA, UNUSED, Line, Mapped, guess, requests, with_defaults
from webhook.drafts.draft import Draft
from webhook.drafts.errors import FileRefused
from webhook.http.csv_text import safe_cell

ID = "external_task_id"
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
_TRUTH = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a file: the job that it names, and the members that it gives to its request.

    `problem`: why it cannot be used, "" if it can.
    """

    number: int
    id: str = ""
    members: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


def guess_uses(draft: Draft) -> tuple[str, ...]:
    """Return what each column probably is. Other columns than those of a request are left out.

    A table of results has many of them, and the corrected request must not carry them along.
    """
    return tuple(UNUSED if use == AS_METADATA else use for use in guess(draft.header))


def rows(draft: Draft, uses: tuple[str, ...]) -> list[Row]:
    """Return the lines of a draft as corrections, each job once.

    A line of NDJSON is a request with an `external_task_id`, or a job of the results with its `request`. Raises
    FileRefused for a file that names no jobs, and for columns that exclude each other.
    """
    if draft.kind == "txt":
        raise FileRefused(f"{draft.label} names no jobs. Upload NDJSON or a table with their ids.")
    if draft.is_table and ID not in uses:
        raise FileRefused(f"{draft.label} has no column with the ids of the jobs. Choose one to be {ID}.")
    found, first = list[Row](), dict[str, int]()
    for row in map(_row, requests(draft, Mapped(uses))):
        is_second = not row.problem and first.setdefault(row.id, row.number) != row.number
        problem = f"row {first[row.id]:,} has this job already; leave one of them out" if is_second else row.problem
        found.append(Row(row.number, row.id, row.members, problem))
    return found


def corrected(before: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with the members of a correction. Entries of objects, such as labels, are replaced one by one.

    A text that CSV or a spreadsheet only writes in another way stays as it was before.
    """
    return with_defaults(before, {name: _restored(before.get(name), value) for name, value in members.items()})


def _row(line: Line) -> Row:
    if line.errors:
        return Row(line.number, problem="; ".join(" ".join(texts) for texts in line.errors.values()))
    try:
        given = parse_json(line.request)
    except BodyInvalid as error:
        return Row(line.number, problem=error.reason)
    if not isinstance(given, Mapping):
        return Row(line.number, problem="is not a JSON object")
    included = given.get("request")
    if included is None and "status" in given:
        return Row(line.number, problem="has no request: write the results with `include=request`")
    members = dict(included if isinstance(included, Mapping) else given)
    job = given.get(ID) or given.get("id")
    if not isinstance(job, str) or not job.strip():
        return Row(line.number, problem=f"names no job: give its id as {ID}")
    members.pop(ID, None)
    return Row(line.number, job.strip(), members)


def _restored(before: Any, value: Any) -> Any:
    if isinstance(before, Mapping) and isinstance(value, Mapping):
        return {name: _restored(before.get(name), each) for name, each in value.items()}
    if not isinstance(before, str) or not isinstance(value, str):
        return value
    written = safe_cell(before)
    if _plain(written) == _plain(value) or _is_same_number(before, value):
        return before
    marked = written.startswith("'") and not before.startswith("'")
    return value[1:] if marked and value.startswith("'") and safe_cell(value[1:]) == value else value


def _plain(text: str) -> str:
    """Return a text as a spreadsheet may save it: with other ends of lines."""
    return text.replace("\\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def _is_same_number(before: str, value: str) -> bool:
    """Return whether a spreadsheet may have made one text of the other: 7 of 007, TRUE of true."""
    if before.casefold() in _TRUTH:
        return before.casefold() == value.strip().casefold()
    if not _NUMBER.fullmatch(before) or not _NUMBER.fullmatch(value.strip()):
        return False
    return Decimal(before) == Decimal(value.strip())
