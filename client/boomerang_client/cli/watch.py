"""Watch a batch: `boomerang watch`, and the end of `boomerang enqueue --wait`."""

import click
from rich.text import Text

from boomerang_client.batch_bar import counts_line
from boomerang_client.cli.id_completion import recent_batches
from boomerang_client.cli.lookup import expecting
from boomerang_client.cli.options import examples, json_option, patience_option
from boomerang_client.cli.progress_bars import watching
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen
from boomerang_client.client import Client
from boomerang_client.records import Batch
from boomerang_client.terminal import clean, shell_word


@click.command(epilog=examples("boomerang watch boats", "boomerang watch boats --json"))
@click.argument("batch", metavar="BATCH", shell_complete=recent_batches)
@patience_option("10m")
@json_option
@click.pass_context
def watch(ctx: click.Context, batch: str, patience: float) -> None:
    """Watch BATCH until all its jobs have ended. Ctrl-C stops watching, not the batch.

    The exit code is 1 if a job failed, expired or was cancelled.
    """
    screen: Screen = ctx.obj
    ctx.exit(FAILED if follow(ctx, screen.client(), batch, patience).unsuccessful else 0)


def follow(ctx: click.Context, client: Client, id_: str, patience: float) -> Batch:
    """Show the batch until it is done, and return it."""
    screen: Screen = ctx.obj
    try:
        with expecting(client, id_, "batch"), watching(screen) as show:
            batch = client.wait(id_, show, patience=patience, on_wait=screen.report_wait)
    except KeyboardInterrupt:
        screen.message(f"Stopped watching. The batch continues. Watch it again: boomerang watch {clean(id_)}")
        ctx.exit(INTERRUPTED)
    if screen.as_json:
        screen.result_json(batch.raw)
    else:
        screen.result(Text.assemble(f"Batch {clean(batch.id)}: ", counts_line(batch), f". Cost {batch.cost} USD."))
        screen.next_step(
            f"boomerang results {shell_word(batch.id)} -o results.jsonl", f"boomerang save {shell_word(batch.id)}"
        )
    return batch
