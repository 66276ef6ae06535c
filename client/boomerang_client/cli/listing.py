"""`boomerang show` and `boomerang list`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import click
from rich.text import Text

from boomerang_client.choices import FailureClass, Other
from boomerang_client.cli.id_completion import recent_batches
from boomerang_client.cli.lookup import find, kind_of, kind_options
from boomerang_client.cli.options import (
    BATCH_STATES,
    JOB_STATES,
    examples,
    failure_option,
    json_option,
    label_option,
    moment,
)
from boomerang_client.cli.render import BATCH_COLUMNS, JOB_COLUMNS, batch_lines, job_lines
from boomerang_client.cli.screen import Screen
from boomerang_client.cli.tables import print_table
from boomerang_client.records import Batch, Job


@click.command(
    short_help="Show a job or a batch.",
    epilog=examples("boomerang show boats", "boomerang show boats.17", "boomerang show --json boats | jq .counts"),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@json_option
@click.pass_obj
def show(screen: Screen, id_: str, *, is_job: bool, is_batch: bool) -> None:
    """Show the job or batch ID: its state, its cost, its images or errors, and what it waits for."""
    client = screen.client()
    found = find(client, id_, kind_of(is_job=is_job, is_batch=is_batch))
    if isinstance(found, Job):
        found = client.job(found.id, include=("request", "revisions"))
    _print(screen, found.raw, job_lines(found) if isinstance(found, Job) else batch_lines(found))


@click.command(
    "list",
    short_help="List jobs or batches.",
    epilog=examples(
        "boomerang list jobs --batch boats --status failed",
        "boomerang list batches --status running",
        "boomerang list batches --label season=spring --since 7d",
        "boomerang list jobs --limit 1000 | cut -f1",
    ),
)
@click.argument("what", type=click.Choice(["jobs", "batches"]), default="jobs", metavar="[jobs|batches]")
@click.option(
    "--status",
    type=click.Choice([*JOB_STATES, *BATCH_STATES]),
    metavar="STATE",
    help=f"Only jobs in this state: {', '.join(JOB_STATES)}. Or batches: {', '.join(BATCH_STATES)}.",
)
@click.option("--batch", metavar="BATCH", shell_complete=recent_batches, help="Only jobs of this batch.")
@failure_option("Only jobs that failed for this class of reasons")
@label_option("Only what has this label. May be repeated.")
@click.option("--producer", metavar="NAME", help="Only what the key of this name made, for administrators.")
@click.option("--since", type=moment, metavar="TIME", help="Only what was created since then: 2026-01-31, or 2h (ago).")
@click.option("--until", type=moment, metavar="TIME", help="Only what was created before then.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="NUMBER", help="At most this many."
)
@json_option
@click.pass_obj
def list_(
    screen: Screen,
    *,
    what: str,
    status: Other | None,
    batch: str | None,
    classes: tuple[FailureClass, ...],
    labels: tuple[tuple[str, str], ...],
    producer: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> None:
    """List jobs or batches, newest first; jobs of one batch in input order.

    On a terminal: a table. A narrow terminal shows fewer columns.

    \b
    In a pipe: one line each, without a heading, with tabs between
      jobs     job, status, model, created, batch, cost, error code
      batches  batch, state, ended, jobs, failed, cancelled, expired,
               cost, created, labels
    """  # noqa: D301 -- click keeps the lines of a block that begins with a backspace, written as \b
    states = JOB_STATES if what == "jobs" else BATCH_STATES
    if status is not None and status not in states:
        raise click.BadParameter(
            f"{what} are never {status!r}. Choose from {', '.join(states)}.", param_hint="--status"
        )
    if batch is not None and what == "batches":
        raise click.UsageError("--batch selects jobs. Leave it out to list batches.")
    if classes and what == "batches":
        raise click.UsageError("--class selects jobs. Leave it out to list batches.")
    client = screen.client()
    if what == "jobs":
        if batch is not None:
            batch = find(client, batch, "batch").id  # an unknown batch is an error, not an empty list
        jobs = client.jobs(
            status,
            batch,
            limit,
            labels=dict(labels),
            classes=classes,
            created_after=since,
            created_before=until,
            producer=producer,
        )
        if screen.as_json:
            _print_views(screen, jobs)
        else:
            print_table(screen, JOB_COLUMNS, jobs, "No jobs match.")
        return
    batches = client.batches(
        limit, status=status, labels=dict(labels), created_after=since, created_before=until, producer=producer
    )
    if screen.as_json:
        _print_views(screen, batches)
    else:
        print_table(screen, BATCH_COLUMNS, batches, "No batches match.")


def _print_views(screen: Screen, found: Iterable[Job | Batch]) -> None:
    for one in found:
        screen.result_json(one.raw)


def _print(screen: Screen, raw: Mapping[str, Any], lines: list[Text]) -> None:
    if screen.as_json:
        screen.result_json(raw)
        return
    for line in lines:
        screen.result(line)
