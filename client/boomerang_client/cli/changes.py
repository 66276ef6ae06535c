"""Commands that change a job or a whole batch: cancel, retry, pause, resume, approve."""

from decimal import Decimal
from typing import BinaryIO

import click

from boomerang_client.choices import FailureClass, JobState
from boomerang_client.cli.id_completion import recent_batches
from boomerang_client.cli.lookup import expecting, find, kind_of, kind_options
from boomerang_client.cli.options import examples, failure_option, json_option, money
from boomerang_client.cli.render import report_change, report_job
from boomerang_client.cli.retry_from import Which, retry_from
from boomerang_client.cli.screen import FAILED, Screen
from boomerang_client.client import Client
from boomerang_client.records import Batch


def _is_batch(client: Client, id_: str, kind: str | None) -> bool:
    """Return whether to change a batch. Asks the service only if `kind` does not say it."""
    return kind == "batch" or (kind is None and isinstance(find(client, id_, None), Batch))


@click.command(
    short_help="Cancel a job, or the unfinished jobs of a batch.",
    epilog=examples("boomerang cancel boats", "boomerang cancel boats.17", "boomerang cancel --job boats"),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@json_option
@click.pass_obj
def cancel(screen: Screen, id_: str, *, is_job: bool, is_batch: bool) -> None:
    """Cancel the job ID, or all unfinished jobs of the batch ID.

    Jobs that the provider has begun may still cost money. Their results are kept.
    """
    client, kind = screen.client(), kind_of(is_job=is_job, is_batch=is_batch)
    if _is_batch(client, id_, kind):
        with expecting(client, id_, "batch"):
            report_change(screen, client.cancel_batch(id_))
    else:
        with expecting(client, id_, "job"):
            report_job(screen, client.cancel(id_))


@click.command(
    short_help="Retry a job, or the failed jobs of a batch.",
    epilog=examples(
        "boomerang retry boats.17",
        "boomerang retry boats --dry-run",
        "boomerang retry boats --code 002016095",
        "boomerang results boats --class moderation --include request -o fixed.csv",
        "boomerang retry boats --class moderation --from fixed.csv",
        "boomerang retry boats --status expired --status cancelled",
    ),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@click.option(
    "--code",
    "codes",
    multiple=True,
    metavar="CODE",
    help="Only jobs that failed with this code. May be repeated.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["failed", "expired", "cancelled"]),
    help="Jobs in this state instead of failed ones. May be repeated.",
)
@failure_option("Only jobs that failed for this class of reasons")
@click.option(
    "--from",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="Send corrected requests. FILE is like that of enqueue, or edited results; each row names its job.",
)
@click.option("--dry-run", is_flag=True, help="Only count the jobs; with --from list what would be sent.")
@json_option
@click.pass_context
def retry(
    ctx: click.Context,
    id_: str,
    *,
    codes: tuple[str, ...],
    statuses: tuple[JobState, ...],
    classes: tuple[FailureClass, ...],
    source: BinaryIO | None,
    dry_run: bool,
    is_job: bool,
    is_batch: bool,
) -> None:
    """Retry the job ID, which ended without a result, or all failed jobs of the batch ID.

    With --from each job gets the request of its row from now on, under the same id: members that the row leaves out
    stay as they were, and a row without a change is not sent. Nothing is sent twice when the command is repeated.

    --code, --class, --status, --from and --dry-run are for batches.
    """
    screen: Screen = ctx.obj
    for_batches = bool(codes or statuses or classes or dry_run or source)
    if is_job and for_batches:
        raise click.UsageError(
            "--code, --class, --status, --from and --dry-run are for batches. Leave out --job, or these."
        )
    client, kind = screen.client(), kind_of(is_job=is_job, is_batch=is_batch or for_batches)
    if source is not None:
        with expecting(client, id_, "batch"):
            which = Which(id_, codes, classes, statuses or ("failed",))
            ctx.exit(FAILED if retry_from(screen, client, which, source, dry_run=dry_run) else 0)
    if _is_batch(client, id_, kind):
        with expecting(client, id_, "batch"):
            changed = client.retry_batch(id_, codes, statuses, classes=classes, dry_run=dry_run)
            report_change(screen, changed, dry_run=dry_run)
    else:
        with expecting(client, id_, "job"):
            report_job(screen, client.retry(id_))


@click.command(
    short_help="Stop submitting a job or the jobs of a batch.",
    epilog=examples("boomerang pause boats", "boomerang pause boats.17"),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@json_option
@click.pass_obj
def pause(screen: Screen, id_: str, *, is_job: bool, is_batch: bool) -> None:
    """Stop submitting the job ID, or the jobs of the batch ID, until it is resumed.

    Jobs that the provider has begun continue.
    """
    client, kind = screen.client(), kind_of(is_job=is_job, is_batch=is_batch)
    if _is_batch(client, id_, kind):
        with expecting(client, id_, "batch"):
            report_change(screen, client.pause(id_))
    else:
        with expecting(client, id_, "job"):
            report_job(screen, client.pause_job(id_))


@click.command(
    short_help="Continue a paused job or batch.",
    epilog=examples("boomerang resume boats", "boomerang resume boats --max-cost 300"),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@click.option("--max-cost", type=money, metavar="USD", help="What all jobs of the batch may cost from now on.")
@json_option
@click.pass_obj
def resume(screen: Screen, id_: str, max_cost: Decimal | None, *, is_job: bool, is_batch: bool) -> None:
    """Continue the job or batch ID after a pause, or a batch that has reached its --max-cost."""
    if is_job and max_cost is not None:
        raise click.UsageError("--max-cost is for batches. Leave out --job, or --max-cost.")
    client, kind = screen.client(), kind_of(is_job=is_job, is_batch=is_batch or max_cost is not None)
    if _is_batch(client, id_, kind):
        with expecting(client, id_, "batch"):
            report_change(screen, client.resume(id_, max_cost))
    else:
        with expecting(client, id_, "job"):
            report_job(screen, client.resume_job(id_))


@click.command(
    short_help="Let the jobs of a batch begin that waits for it.",
    epilog=examples("boomerang approve boats"),
)
@click.argument("id_", metavar="BATCH", shell_complete=recent_batches)
@json_option
@click.pass_obj
def approve(screen: Screen, id_: str) -> None:
    """Approve the batch BATCH, which was enqueued with --paused or --pilot: its jobs begin."""
    client = screen.client()
    with expecting(client, id_, "batch"):
        report_change(screen, client.approve(id_))
