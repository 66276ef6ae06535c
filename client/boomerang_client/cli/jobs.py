"""Commands about single jobs: show, list, cancel, retry."""

import click

from boomerang_client.cli.render import job_lines, job_row, job_table, words
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
@click.argument("id_", metavar="ID")
@json_option
@click.pass_obj
def cancel(screen: Screen, id_: str) -> None:
    """Give the job ID up. What the provider has begun may still cost; its result is kept."""
    _changed(screen, screen.client().cancel(id_))


@click.command()
@click.argument("id_", metavar="ID")
@json_option
@click.pass_obj
def retry(screen: Screen, id_: str) -> None:
    """Try the job ID once more, if it ended without a result."""
    _changed(screen, screen.client().retry(id_))


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
