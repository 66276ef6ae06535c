"""`boomerang bulk`: one change of all jobs that meet a filter."""

import time

import click

from boomerang_client.bulk_records import BulkAction
from boomerang_client.choices import FailureClass, JobState
from boomerang_client.cli.id_completion import recent_batches
from boomerang_client.cli.options import (
    examples,
    failure_option,
    json_option,
    label_option,
    priority_option,
    states_option,
)
from boomerang_client.cli.screen import FAILED, Screen
from boomerang_client.client import Client
from boomerang_client.terminal import clean

ACTIONS = ("cancel", "retry", "pause", "resume", "priority")
#: Seconds between two looks at an action that takes a while.
_EVERY = 1.0
_DONE = {"cancel": "cancelled", "retry": "queued again", "pause": "paused", "resume": "resumed"}


@click.command(
    short_help="Change all jobs that meet a filter.",
    epilog=examples(
        "boomerang bulk retry --batch boats --class transient --dry-run",
        "boomerang bulk retry --batch boats --class transient",
        "boomerang bulk cancel --status queued --label team=web",
        "boomerang bulk priority --priority high --batch boats",
        "boomerang bulk abort 4f0c1d7a9b2e8356",
    ),
)
@click.argument("action", type=click.Choice([*ACTIONS, "abort"]))
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--batch", metavar="BATCH", shell_complete=recent_batches, help="Only jobs of this batch.")
@states_option
@failure_option("Only jobs that failed for this class of reasons")
@click.option("--code", multiple=True, metavar="CODE", help="Only jobs that failed with this code. May be repeated.")
@label_option("Only jobs with this label. May be repeated.")
@click.option("--model", multiple=True, metavar="MODEL", help="Only jobs of this model. May be repeated.")
@click.option("--lane", multiple=True, metavar="LANE", help="Only jobs that this lane submitted. May be repeated.")
@click.option("--all", "everything", is_flag=True, help="All your jobs: no filter.")
@priority_option("The new priority, for the action priority.")
@click.option("--dry-run", is_flag=True, help="Only count the jobs and their expected cost.")
@json_option
@click.pass_obj
def bulk(
    screen: Screen,
    /,
    *,
    action: str,
    id_: str | None,
    statuses: tuple[JobState, ...],
    classes: tuple[FailureClass, ...],
    labels: tuple[tuple[str, str], ...],
    everything: bool,
    priority: str | None,
    dry_run: bool,
    **conditions: "str | tuple[str, ...] | None",
) -> None:
    """Cancel, retry, pause or resume all jobs that meet a filter, or change their priority.

    The jobs are those that meet all conditions now. The command waits until it is done; Ctrl-C ends only the wait.
    `abort ID` ends the action. A retry without --status means failed jobs. Each attempt costs money: use --dry-run
    first.
    """
    conditions |= {"status": statuses, "class": classes, "label": tuple(f"{name}={value}" for name, value in labels)}
    wanted = {name: list(value) if isinstance(value, tuple) else value for name, value in conditions.items() if value}
    client = screen.client()
    if action == "abort":
        if id_ is None or wanted or everything:
            raise click.UsageError("Name the ID of the bulk action, and nothing else.")
        _report(screen, client.abort_bulk(id_))
        return
    if id_ is not None:
        raise click.UsageError("Only abort takes an ID; choose jobs with options.")
    if bool(wanted) == everything:
        raise click.UsageError("Choose jobs with options such as --batch, or all of yours with --all.")
    if (action == "priority") != (priority is not None):
        raise click.UsageError("The action priority needs --priority, and no other takes it.")
    found = _finished(screen, client, client.begin_bulk(action, wanted, priority=priority, dry_run=dry_run))
    _report(screen, found)
    if found.status == "aborted":
        click.get_current_context().exit(FAILED)


def _finished(screen: Screen, client: Client, begun: BulkAction) -> BulkAction:
    """Wait until a bulk action is over."""
    if begun.status == "running":
        screen.message(f"Bulk action {clean(begun.id)} is under way. To end it: boomerang bulk abort {clean(begun.id)}")
    while begun.status == "running":
        time.sleep(_EVERY)
        begun = client.bulk(begun.id)
    return begun


def _report(screen: Screen, found: BulkAction) -> None:
    if screen.as_json:
        screen.result_json(found.raw)
        return
    jobs = "1 job" if found.affected == 1 else f"{found.affected:,} jobs"
    done = _DONE.get(found.action, "changed")
    cost = "an unknown cost" if found.expected_cost is None else f"${found.expected_cost:,f}"
    screen.result(f"{jobs} {'would be ' if found.dry_run else ''}{done}; expected cost: {cost}.")
    for why, count in found.skipped.items():
        screen.message(f"{count:,} left as they are: {clean(why)}", "dim")
    if found.status == "aborted":
        screen.message("It was aborted: the rest is left as it is.", "yellow")
