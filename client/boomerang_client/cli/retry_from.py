"""`boomerang retry BATCH --from FILE`: read the rows, correct the jobs, and report every row."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from boomerang_client.choices import FailureClass, JobState
from boomerang_client.cli.columns import Columns
from boomerang_client.cli.corrections import Corrected, correct, read_rows
from boomerang_client.cli.input_file import Reading, open_input
from boomerang_client.cli.screen import Screen
from boomerang_client.client import Client
from boomerang_client.errors import UsageError
from boomerang_client.terminal import clean, shell_word

#: Outcomes after which a person has something to do.
_OPEN = frozenset({"refused", "skipped"})


@dataclass(frozen=True)
class Which:
    """The jobs of a batch to correct: those in `statuses`; of the failed ones, those of `codes` and `classes`."""

    batch: str
    codes: Sequence[str]
    classes: Sequence[FailureClass]
    statuses: Sequence[JobState]


def retry_from(screen: Screen, client: Client, which: Which, file: BinaryIO, *, dry_run: bool) -> bool:
    """Correct jobs from a file and report each row. Return whether some rows were not used."""
    name = file.name if isinstance(getattr(file, "name", None), str) and file.name != "<stdin>" else ""
    source = open_input(file, name, Reading(columns=Columns(id_column="id")))
    rows, bad = read_rows(source.requests({}, lambda text: screen.message(clean(text))))
    if not rows and not bad:
        raise UsageError("The file has no rows. Write one corrected request a row, each with its external_task_id.")
    jobs = (
        job
        for job in client.results(which.batch, which.statuses, include=["request"])
        if job.status.value != "failed"
        or (
            (not which.codes or (job.error.code if job.error else "") in which.codes)
            and (not which.classes or job.failure in which.classes)
        )
    )
    counts = Counter[str]()
    for one in (*bad, *correct(client, jobs, rows, Path(name).parent if name else None, dry_run=dry_run)):
        counts[one.outcome] += 1
        _report(screen, one, source.unit)
    if not screen.as_json:
        would = "would be queued" if dry_run else "queued"
        screen.result(
            f"Batch {clean(which.batch)}: {counts['queued']:,} {would} with corrections, "
            f"{counts['unchanged']:,} unchanged, {counts['refused']:,} refused, {counts['skipped']:,} not to retry, "
            f"{counts['missing']:,} jobs without a row."
        )
        if counts["queued"] and not dry_run:
            screen.next_step(f"boomerang watch {shell_word(which.batch)}")
    return any(counts[outcome] for outcome in _OPEN)


def _report(screen: Screen, one: Corrected, unit: str) -> None:
    if screen.as_json:
        screen.result_json({"id": one.id, "outcome": one.outcome, "row": one.row, "detail": one.detail})
    elif one.outcome in _OPEN:
        where = f"{unit} {one.row}" + (f", {clean(one.id)}" if one.id else "")
        screen.message(f"  {where}: {clean(one.detail)}")
