"""Commands about batches: enqueue, watch, results."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from boomerang_client.cli.bars import counting, sending, watching
from boomerang_client.cli.render import counts_text, present_change
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen, field_lines, json_option
from boomerang_client.client import Client
from boomerang_client.ids import new_id
from boomerang_client.records import Batch, BatchAccepted

interval_option = click.option(
    "--interval",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks at the batch.",
)


@click.command()
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option("--id", "id_", metavar="BATCH", help="The batch's id; give the same again to repeat a broken upload.")
@click.option("--wait", is_flag=True, help="Watch the batch until it is done.")
@interval_option
@json_option
@click.pass_context
def enqueue(ctx: click.Context, file: BinaryIO, id_: str | None, *, wait: bool, interval: float) -> None:
    """Enqueue the jobs of FILE as a batch: one generation request a line, as JSON. "-" reads from stdin.

    Rejected lines are reported with their number, field and remedy; the other lines are enqueued all the same.
    """
    screen: Screen = ctx.obj
    client = screen.client()
    batch = id_ or new_id()
    try:
        with sending(screen, _size(file)) as progress:
            accepted = client.enqueue_batch(file, batch, progress)
    except KeyboardInterrupt:
        screen.tell(f"Broken off. To send the rest: the same command with --id {batch}; nothing is bought twice.")
        ctx.exit(INTERRUPTED)
    _report(screen, accepted)
    refused = accepted.rejected > 0 or accepted.accepted + accepted.known == 0
    if wait and accepted.accepted + accepted.known:
        refused = _watch(ctx, client, accepted.id, interval).unsuccessful > 0 or refused
    elif not screen.as_json and accepted.accepted + accepted.known:
        screen.say(f"Next: boomerang watch {accepted.id}")
    ctx.exit(FAILED if refused else 0)


@click.command()
@click.argument("batch", metavar="BATCH")
@interval_option
@json_option
@click.pass_context
def watch(ctx: click.Context, batch: str, interval: float) -> None:
    """Watch BATCH until all its jobs have ended. Ctrl-C stops watching, never the batch.

    Exit code 1 if a job failed, expired or was cancelled.
    """
    screen: Screen = ctx.obj
    ctx.exit(FAILED if _watch(ctx, screen.client(), batch, interval).unsuccessful else 0)


@click.command()
@click.argument("batch", metavar="BATCH")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout."
)
@json_option
@click.pass_context
def results(ctx: click.Context, batch: str, output: Path | None) -> None:
    """Write the jobs of BATCH as NDJSON, in input order, whatever their state.

    FILE appears when it is complete, never before.
    """
    screen: Screen = ctx.obj
    client = screen.client()
    expected = client.batch(batch).accepted
    written = 0
    with _target(output) as target, counting(screen, expected) as arrived:
        for job in client.results(batch):
            target.write(json.dumps(job.raw) + "\n")
            written += 1
            arrived()
        if written < expected:
            screen.tell(f"Error: {written} of {expected} results came. Ask again: boomerang results {batch}", "red")
            ctx.exit(FAILED)
    if output is not None:
        screen.tell(f"{written} results in {output}")


@click.command()
@click.argument("batch", metavar="BATCH")
@json_option
@click.pass_obj
def pause(screen: Screen, batch: str) -> None:
    """Submit no more jobs of BATCH until it is resumed. What the provider has begun goes on."""
    present_change(screen, screen.client().pause(batch))


@click.command()
@click.argument("batch", metavar="BATCH")
@json_option
@click.pass_obj
def resume(screen: Screen, batch: str) -> None:
    """Let BATCH go on after a pause."""
    present_change(screen, screen.client().resume(batch))


def _watch(ctx: click.Context, client: Client, id_: str, interval: float) -> Batch:
    screen: Screen = ctx.obj
    try:
        with watching(screen) as progress:
            batch = client.wait(id_, progress, every=interval)
    except KeyboardInterrupt:
        screen.tell(f"Stopped watching. The batch goes on; look again: boomerang watch {id_}")
        ctx.exit(INTERRUPTED)
    if screen.as_json:
        screen.document(batch.raw)
    else:
        screen.say(f"Batch {batch.id}: {counts_text(batch)}. Cost {batch.cost} USD.")
        screen.say(f"Next: boomerang results {batch.id} -o results.jsonl")
    return batch


def _report(screen: Screen, accepted: BatchAccepted) -> None:
    if screen.as_json:
        screen.document(accepted.raw)
        return
    screen.say(
        f"Batch {accepted.id}: {accepted.accepted} accepted, {accepted.known} known before, "
        f"{accepted.rejected} rejected."
    )
    for error in accepted.errors:
        for line in field_lines(error.errors, error.codes):
            screen.tell(f"  line {error.line}: {line}")
    if accepted.rejected > len(accepted.errors):
        screen.tell(f"  and {accepted.rejected - len(accepted.errors)} more")
    if accepted.accepted + accepted.known + accepted.rejected == 0:
        screen.tell("There are no jobs in it: give one JSON object a line.")


def _size(file: BinaryIO) -> int | None:
    if not file.seekable():
        return None
    here = file.tell()
    size = file.seek(0, 2) - here
    file.seek(here)
    return size


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(output.name + ".part")
    try:
        try:
            with part.open("w", encoding="utf-8") as file:
                yield file
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from error
