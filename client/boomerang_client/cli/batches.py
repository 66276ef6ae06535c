"""Commands that change a batch: pause, resume."""

from decimal import Decimal

import click

from boomerang_client.cli.options import money
from boomerang_client.cli.render import present_change
from boomerang_client.cli.screen import Screen, json_option


@click.command()
@click.argument("batch", metavar="BATCH")
@json_option
@click.pass_obj
def pause(screen: Screen, batch: str) -> None:
    """Submit no more jobs of BATCH until it is resumed. What the provider has begun goes on."""
    present_change(screen, screen.client().pause(batch))


@click.command()
@click.argument("batch", metavar="BATCH")
@click.option("--max-cost", type=money, metavar="USD", help="What all its jobs together may cost from now on.")
@json_option
@click.pass_obj
def resume(screen: Screen, batch: str, max_cost: Decimal | None) -> None:
    """Let BATCH go on after a pause, or after it has reached what it may cost."""
    present_change(screen, screen.client().resume(batch, max_cost))
