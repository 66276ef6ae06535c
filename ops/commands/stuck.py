"""`boomerang-server stuck`: every dead end, with what settles it."""

import json
from dataclasses import asdict

import click

from jobs.store.stuck import LONG, MOST, Kind, dead_ends
from ops.commands.durations import duration
from ops.commands.store import SOME, opened
from ops.commands.table import show_table


@click.command("stuck")
@click.option("--longer-than", type=duration, default=LONG, help="In doubt or on hold for so long. Default 10m.")
@click.option("--most", type=click.IntRange(1), default=MOST, show_default=True, help="Of each kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a dead end, for machines.")
@click.pass_context
def stuck(context: click.Context, longer_than: float, most: int, *, as_json: bool) -> None:
    """List every dead end with what settles it: what does not go on by itself.

    Jobs in doubt, deliveries given up, lanes on hold, batches and keys that money keeps waiting, images that are gone.
    Exit code 0: there are none; 1: there are some; 2: Redis (BOOMERANG_REDIS_URL) did not answer.
    """
    with opened() as store:
        found = list(dead_ends(store, longer_than, most))
    if as_json:
        for each in found:
            click.echo(json.dumps(asdict(each), default=str))
    elif found:
        since = [each.since.isoformat(timespec="seconds") if each.since else "" for each in found]
        rows = [(each.kind.value, each.id, when, each.why, each.do) for each, when in zip(found, since, strict=True)]
        show_table(("what", "which", "since", "why", "what settles it"), rows)
        for kind in Kind:
            if sum(each.kind is kind for each in found) >= most:
                click.echo(f"There may be more of the kind {kind}: --most.")
    else:
        click.echo("Nothing is stuck.")
    context.exit(SOME if found else 0)
