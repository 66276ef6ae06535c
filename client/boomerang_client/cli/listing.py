"""Commands about jobs, and batches where these are much the same: show, list, cancel, retry."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from boomerang_client.cli.options import label_option, moment, one_of
from boomerang_client.cli.render import (
    BATCH_COLUMNS,
    JOB_COLUMNS,
    STYLES,
    batch_lines,
    batch_row,
    job_lines,
    job_row,
    present_change,
    present_job,
    table,
    words,
)
from boomerang_client.cli.screen import Screen, json_option
from boomerang_client.errors import NotFound
from boomerang_client.records import Batch, Job, Status

STATUSES = [status.value for status in Status if status is not Status.UNKNOWN]


@click.command()
@click.argument("id_", metavar="ID")
@json_option
@click.pass_obj
def show(screen: Screen, id_: str) -> None:
    """Show the job or batch ID: its state, what it waits for, its images and its cost."""
    client = screen.client()
    try:
        job = client.job(id_)
    except NotFound as no_job:
        try:
            batch = client.batch(id_)
        except NotFound:
            raise no_job from None
        _present(screen, batch.raw, batch_lines(batch))
    else:
        _present(screen, job.raw, job_lines(job))


@click.command("list")
@click.argument("what", type=click.Choice(["jobs", "batches"]), default="jobs", metavar="[jobs|batches]")
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs in this state.")
@click.option("--batch", metavar="BATCH", help="Only jobs of this batch.")
@label_option("Only what has this label; may be given several times.")
@click.option("--since", type=moment, metavar="TIME", help="Only what was made after it: 2026-01-31, or 2h ago: 2h.")
@click.option("--until", type=moment, metavar="TIME", help="Only what was made before it.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
def list_(
    screen: Screen,
    *,
    what: str,
    status: str | None,
    batch: str | None,
    labels: tuple[tuple[str, str], ...],
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> None:
    """List jobs or batches. Without a terminal: one a line, tabs between the columns, no heading."""
    client = screen.client()
    found: Iterable[Job] | Iterable[Batch]
    if what == "jobs":
        found = client.jobs(status, batch, limit, labels=dict(labels), created_after=since, created_before=until)
    elif status or batch:
        raise click.UsageError("--status and --batch are for jobs.")
    else:
        found = client.batches(limit, labels=dict(labels), created_after=since, created_before=until)
    if screen.as_json:
        for one in found:
            screen.document(one.raw)
        return
    rows = (job_row(one) if isinstance(one, Job) else batch_row(one) for one in found)
    if screen.out.is_terminal:
        styles = {words(status): style for status, style in STYLES.items()}
        screen.out.print(table(JOB_COLUMNS if what == "jobs" else BATCH_COLUMNS, rows, styles))
    else:
        for row in rows:
            click.echo("\t".join(row))


@click.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--batch", metavar="BATCH", help="All unfinished jobs of this batch, instead of one job.")
@json_option
@click.pass_obj
def cancel(screen: Screen, id_: str | None, batch: str | None) -> None:
    """Give the job ID up, or a batch. What the provider has begun may still cost; its result is kept."""
    if batch is not None:
        one_of(id_, batch)
        present_change(screen, screen.client().cancel_batch(batch))
    else:
        present_job(screen, screen.client().cancel(one_of(id_, batch)))


@click.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--batch", metavar="BATCH", help="The failed jobs of this batch, instead of one job.")
@click.option("--code", "codes", multiple=True, metavar="CODE", help="Of the batch, only jobs that failed so.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["failed", "expired", "cancelled"]),
    help="Of the batch, jobs in this state instead of the failed ones.",
)
@click.option("--dry-run", is_flag=True, help="Of the batch, only say how many there are.")
@json_option
@click.pass_obj
def retry(
    screen: Screen,
    id_: str | None,
    batch: str | None,
    codes: tuple[str, ...],
    statuses: tuple[str, ...],
    *,
    dry_run: bool,
) -> None:
    """Try the job ID once more, if it ended without a result, or the failed jobs of a batch.

    --code and --status may be given several times.
    """
    if batch is not None:
        one_of(id_, batch)
        changed = screen.client().retry_batch(batch, codes, statuses, dry_run=dry_run)
        present_change(screen, changed, dry_run=dry_run)
    elif codes or statuses or dry_run:
        raise click.UsageError("--code, --status and --dry-run are for a batch: name it with --batch.")
    else:
        present_job(screen, screen.client().retry(one_of(id_, batch)))


def _present(screen: Screen, raw: Mapping[str, Any], lines: list[Text]) -> None:
    if screen.as_json:
        screen.document(raw)
        return
    for line in lines:
        screen.say(line)
