"""Commands that hold a batch or a job back: pause, resume."""

from decimal import Decimal

import click

from boomerang_client.cli.options import money, one_of
from boomerang_client.cli.render import present_change, present_job
from boomerang_client.cli.screen import Screen, json_option


@click.command()
@click.argument("batch", metavar="[BATCH]", required=False)
@click.option("--job", metavar="ID", help="This one job, instead of a batch.")
@json_option
@click.pass_obj
def pause(screen: Screen, batch: str | None, job: str | None) -> None:
    """Submit no more jobs of BATCH until it is resumed. What the provider has begun goes on."""
    if job is not None:
        one_of(job, batch)
        present_job(screen, screen.client().pause_job(job))
    else:
        present_change(screen, screen.client().pause(one_of(job, batch)))


@click.command()
@click.argument("batch", metavar="[BATCH]", required=False)
@click.option("--job", metavar="ID", help="This one job, instead of a batch.")
@click.option("--max-cost", type=money, metavar="USD", help="What all jobs of the batch may cost from now on.")
@json_option
@click.pass_obj
def resume(screen: Screen, batch: str | None, job: str | None, max_cost: Decimal | None) -> None:
    """Let BATCH go on after a pause, or after it has reached what it may cost."""
    if job is not None:
        one_of(job, batch)
        if max_cost is not None:
            raise click.UsageError("--max-cost is for a batch.")
        present_job(screen, screen.client().resume_job(job))
    else:
        present_change(screen, screen.client().resume(one_of(job, batch), max_cost))
