"""Watching a batch: `boomerang watch`, and the end of `enqueue --wait`."""

import click

from boomerang_client.cli.options import patience_option
from boomerang_client.cli.progress_bars import watching
from boomerang_client.cli.render import counts_text
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen, json_option
from boomerang_client.client import Client
from boomerang_client.records import Batch


@click.command()
@click.argument("batch", metavar="BATCH")
@patience_option("10m")
@json_option
@click.pass_context
def watch(ctx: click.Context, batch: str, patience: float) -> None:
    """Watch BATCH until all its jobs have ended. Ctrl-C stops watching, never the batch.

    Exit code 1 if a job failed, expired or was cancelled.
    """
    screen: Screen = ctx.obj
    ctx.exit(FAILED if follow(ctx, screen.client(), batch, patience).unsuccessful else 0)


def follow(ctx: click.Context, client: Client, id_: str, patience: float) -> Batch:
    """Show the batch until it is done."""
    screen: Screen = ctx.obj
    try:
        with watching(screen) as progress:
            batch = client.wait(id_, progress, patience=patience, on_wait=screen.waiting)
    except KeyboardInterrupt:
        screen.tell(f"Stopped watching. The batch goes on; look again: boomerang watch {id_}")
        ctx.exit(INTERRUPTED)
    if screen.as_json:
        screen.document(batch.raw)
    else:
        screen.say(f"Batch {batch.id}: {counts_text(batch)}. Cost {batch.cost} USD.")
        screen.say(f"Next: boomerang results {batch.id} -o results.jsonl, or boomerang save {batch.id}")
    return batch
