"""`boomerang-server stuck`: everything that does not continue by itself, with the command that settles it."""

import json
from dataclasses import asdict

import click

from jobs.store.stuck import LONG, MOST, Kind, dead_ends
from ops.commands.durations import parse_duration
from ops.commands.help_text import examples
from ops.commands.store import PROBLEMS, open_store
from ops.commands.table import show_table
from ops.commands.terminal import echo


@click.command(
    "stuck", short_help="List everything that is stuck.", epilog=examples("boomerang-server stuck --longer-than 1h")
)
@click.option(
    "--longer-than",
    type=parse_duration,
    default=LONG,
    metavar="DURATION",
    help="List only what is in doubt or on hold for longer than this.  [default: 10m]",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=MOST,
    metavar="COUNT",
    show_default=True,
    help="List at most this many of each kind.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_context
def stuck(context: click.Context, longer_than: float, most: int, *, as_json: bool) -> None:
    """List everything that is stuck, with the command that settles it.

    Stuck are jobs in doubt, deliveries that were given up, lanes on hold, batches and keys that reached a cost limit,
    jobs whose cost is unknown, and jobs whose images are gone.

    Exit code 0: nothing is stuck; 1: something is; 2: Redis (BOOMERANG_REDIS_URL) cannot be read.
    """
    with open_store() as store:
        found = list(dead_ends(store, longer_than, most))
    if as_json:
        for each in found:
            echo(json.dumps(asdict(each), default=str))
    elif found:
        since = [each.since.isoformat(timespec="seconds") if each.since else "" for each in found]
        rows = [(each.kind.value, each.id, when, each.why, each.do) for each, when in zip(found, since, strict=True)]
        show_table(("kind", "id", "since", "reason", "remedy"), rows)
        for kind in Kind:
            if sum(each.kind is kind for each in found) >= most:
                echo(f"More may be stuck of kind {kind}: raise --most.", err=True)
    else:
        echo("Nothing is stuck.")
    context.exit(PROBLEMS if found else 0)
