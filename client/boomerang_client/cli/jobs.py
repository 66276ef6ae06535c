"""Commands about single jobs: show, list, cancel, retry."""

import click

from boomerang_client.cli.render import job_lines, job_row, job_table, present_change, words
from boomerang_client.cli.screen import Screen, json_option
from boomerang_client.errors import NotFound
from boomerang_client.records import Job, Status

STATUSES = [status.value for status in Status if status is not Status.UNKNOWN]


@click.command()
@click.argument("id_", metavar="ID")
@json_option
@click.pass_obj
def show(screen: Screen, id_: str) -> None:
    """Show the job ID: its state, what it waits for, its images and its cost."""
    try:
        job = screen.client().job(id_)
    except NotFound:
        screen.tell(f"If this is a batch: boomerang watch {id_}")
        raise
    _present(screen, job)


@click.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only jobs in this state.")
@click.option("--batch", metavar="BATCH", help="Only jobs of this batch.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many jobs.")
@json_option
@click.pass_obj
def list_(screen: Screen, status: str | None, batch: str | None, limit: int) -> None:
    """List jobs. Without a terminal: one a line, tabs between the columns, no heading."""
    jobs = screen.client().jobs(status, batch, limit)
    if screen.as_json:
        for job in jobs:
            screen.document(job.raw)
    elif screen.out.is_terminal:
        screen.out.print(job_table(jobs))
    else:
        for job in jobs:
            click.echo("\t".join(job_row(job)))


@click.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--batch", metavar="BATCH", help="All unfinished jobs of this batch, instead of one job.")
@json_option
@click.pass_obj
def cancel(screen: Screen, id_: str | None, batch: str | None) -> None:
    """Give the job ID up, or a batch. What the provider has begun may still cost; its result is kept."""
    if batch is not None:
        _one_of(id_, batch)
        present_change(screen, screen.client().cancel_batch(batch))
    else:
        _changed(screen, screen.client().cancel(_one_of(id_, batch)))


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
        _one_of(id_, batch)
        changed = screen.client().retry_batch(batch, codes, statuses, dry_run=dry_run)
        present_change(screen, changed, dry_run=dry_run)
    elif codes or statuses or dry_run:
        raise click.UsageError("--code, --status and --dry-run are for a batch: name it with --batch.")
    else:
        _changed(screen, screen.client().retry(_one_of(id_, batch)))


def _one_of(id_: str | None, batch: str | None) -> str:
    if (id_ is None) is (batch is None):
        raise click.UsageError("Name either one job, ID, or a batch, --batch BATCH.")
    return id_ or ""


def _present(screen: Screen, job: Job) -> None:
    if screen.as_json:
        screen.document(job.raw)
        return
    for line in job_lines(job):
        screen.say(line)


def _changed(screen: Screen, job: Job) -> None:
    if screen.as_json:
        screen.document(job.raw)
        return
    screen.say(f"Job {job.id} is {words(job.status)}.")
    screen.say(f"Next: boomerang show {job.id}")
