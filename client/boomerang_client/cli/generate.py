"""`boomerang generate`."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from boomerang_client.cli.columns import assign
from boomerang_client.cli.options import (
    duration,
    examples,
    expires_option,
    json_option,
    label_option,
    priority_option,
    private_hosts_option,
    set_option,
)
from boomerang_client.cli.quote_text import report_quote
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen
from boomerang_client.ids import new_id
from boomerang_client.record_fields import Status
from boomerang_client.records import Job
from boomerang_client.terminal import clean, shell_word

DEFAULT_MODEL = "kirin_image_omni"


@click.command(
    epilog=examples(
        'boomerang generate "A red boat in the fog"',
        'boomerang generate "A red boat in the fog" -o images --set n=4',
        'boomerang generate "<<<image_1>>> at night" --image boat.jpg -o images',
        "boomerang generate - < prompt.txt",
    )
)
@click.argument("prompt", metavar="PROMPT|-")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, metavar="MODEL", help="The model.")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE|URL",
    help="An image for the prompt, named <<<image_1>>>, <<<image_2>>>, … there. May be repeated.",
)
@set_option("Another member of the request, such as n=4 or aspect_ratio=16:9. May be repeated.")
@label_option("A label of the job. May be repeated.")
@priority_option("The job's priority.")
@expires_option
@click.option("--id", "id_", metavar="ID", help="The job's id. The same request with the same id is not paid again.")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Save the images there."
)
@private_hosts_option
@click.option("--timeout", type=duration, metavar="DURATION", help="Stop waiting after this time. The job continues.")
@click.option("--dry-run", is_flag=True, help="Enqueue nothing. Check it, and print what it would cost.")
@click.option("--no-wait", is_flag=True, help="Print the job's id and do not wait for its end.")
@json_option
@click.pass_context
def generate(
    ctx: click.Context,
    prompt: str,
    *,
    model: str,
    images: tuple[str, ...],
    members: tuple[tuple[str, str], ...],
    labels: tuple[tuple[str, str], ...],
    priority: str | None,
    expires_in: float | None,
    id_: str | None,
    output: Path | None,
    private_hosts: bool,
    timeout: float | None,
    no_wait: bool,
    dry_run: bool,
) -> None:
    """Generate images for PROMPT and wait for them. "-" reads the prompt from stdin.

    Prints the URLs of the images, one a line; with -o saves the images and prints their files. Messages go to stderr.
    Ctrl-C stops waiting, not the job.
    """
    if no_wait and (output is not None or timeout is not None):
        raise click.UsageError("--no-wait excludes -o and --timeout. Leave out one or the other.")
    screen: Screen = ctx.obj
    text = sys.stdin.read().strip() if prompt == "-" else prompt
    request: dict[str, Any] = {"model": model, "prompt": text, "external_task_id": id_ or new_id()}
    for member, value in members:
        assign(request, member, value)
    for image in images:
        request.setdefault("image_list", []).append({"image": image})
    options = {
        "labels": dict(labels) | request.get("labels", {}),
        "priority": priority,
        "expires_in": None if expires_in is None else math.ceil(expires_in),
    }
    request |= {name: value for name, value in options.items() if value}
    client = screen.client(private_hosts=private_hosts or None)
    # The user has typed the names of images, so they may be anywhere.
    folders = [Path(), Path(Path().absolute().anchor)]
    if dry_run:
        quote = client.quote([request], folder=folders)
        report_quote(screen, quote)
        ctx.exit(FAILED if quote.rejected else 0)
    with _stoppable(ctx, request["external_task_id"]):
        job = client.enqueue(request, folder=folders)
        if no_wait:
            _print_id(screen, job)
            return
        with _waiting(screen, job) as show:
            job.wait(timeout, show)
        if job.status is not Status.COMPLETED:
            _print_failure(screen, job)
            ctx.exit(FAILED)
        _print_result(screen, job, [] if output is None else job.save(output))


@contextmanager
def _waiting(screen: Screen, job: Job) -> Iterator[Callable[[Job], None]]:
    """Show that the job is awaited, until the block ends. Yields a function that shows why the job waits."""
    last = [job.reason]

    def show(seen: Job) -> None:
        if seen.reason and seen.reason != last[0]:
            screen.message(f"Job {clean(seen.id)} waits: {clean(seen.reason)}", "yellow")
        last[0] = seen.reason

    with screen.err.status(Text(f"Job {clean(job.id)} is in progress; Ctrl-C stops waiting, not the job.")):
        yield show


@contextmanager
def _stoppable(ctx: click.Context, id_: str) -> Iterator[None]:
    """Explain on Ctrl-C how to get the result later."""
    try:
        yield
    except KeyboardInterrupt:
        message = f"Stopped waiting. If the job was accepted, it continues: boomerang show {clean(id_)}"
        ctx.ensure_object(Screen).message(message)
        ctx.exit(INTERRUPTED)


def _print_id(screen: Screen, job: Job) -> None:
    if screen.as_json:
        screen.result_json(job.raw)
        return
    screen.result(clean(job.id))
    screen.next_step(f"boomerang save {shell_word(job.id)} --follow")


def _print_failure(screen: Screen, job: Job) -> None:
    if screen.as_json:
        screen.result_json(job.raw)
        return
    why = f": {job.error.code} {job.error.message}" if job.error else f": {job.reason}" if job.reason else ""
    screen.message(f"Error: Job {clean(job.id)} is {job.status.words}{clean(why)}", "red")
    screen.next_step(f"boomerang show {shell_word(job.id)}", f"boomerang retry {shell_word(job.id)}")


def _print_result(screen: Screen, job: Job, files: list[Path]) -> None:
    if screen.as_json:
        screen.result_json({**job.raw, **({"files": [str(file) for file in files]} if files else {})})
        return
    for line in map(str, files) if files else [one.url for one in job.output]:
        screen.result(clean(line))
    cost = "" if job.cost is None else f" Cost {job.cost} USD."
    screen.message(f"Job {clean(job.id)} is completed.{cost}", "dim")
    if not files:
        screen.next_step(f"boomerang save {shell_word(job.id)}")
