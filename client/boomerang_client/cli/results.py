"""Commands that bring what came of jobs: results, save."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from boomerang_client.cli.formats import WRITERS
from boomerang_client.cli.listing import STATUSES
from boomerang_client.cli.options import patience_option
from boomerang_client.cli.progress_bars import counting
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen, json_option
from boomerang_client.client import Client
from boomerang_client.errors import NotFound
from boomerang_client.records import Batch, Job
from boomerang_client.saving import AT_ONCE

follow_option = click.option("--follow", is_flag=True, help="As jobs end, until all have, whatever their order.")


@click.command()
@click.argument("batch", metavar="BATCH")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(WRITERS)),
    help="ndjson: all there is of a job, a line. csv: the main columns. By default as FILE ends, or ndjson.",
)
@click.option("--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only jobs in this state.")
@follow_option
@patience_option("10m")
@json_option
@click.pass_context
def results(
    ctx: click.Context,
    *,
    batch: str,
    output: Path | None,
    form: str | None,
    statuses: tuple[str, ...],
    follow: bool,
    patience: float,
) -> None:
    """Write the jobs of BATCH in input order, whatever their state; or with --follow as they end.

    FILE appears when it is complete, never before.
    """
    screen: Screen = ctx.obj
    client = screen.client()
    seen = client.batch(batch)
    jobs = (
        client.finished(batch, patience=patience, on_wait=screen.waiting) if follow else client.results(batch, statuses)
    )
    wanted = (job for job in jobs if not statuses or job.status.value in statuses)
    csv = (form or (output.suffix[1:] if output else "")).lower() == "csv"
    try:
        with _target(output) as target, counting(screen, "results", seen.accepted) as arrived:
            written = _write(wanted, target, WRITERS["csv" if csv else "ndjson"], arrived, flush=follow)
            if not statuses and written < seen.accepted:
                screen.tell(
                    f"Error: {written} of {seen.accepted} results came. Ask again: boomerang results {batch}", "red"
                )
                ctx.exit(FAILED)
    except KeyboardInterrupt:
        screen.tell(f"Stopped. The batch goes on; ask again: boomerang results {batch}{' --follow' * follow}")
        ctx.exit(INTERRUPTED)
    if output is not None:
        screen.tell(f"{written} results in {output}")


@click.command()
@click.argument("id_", metavar="ID")
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="By default named as ID."
)
@follow_option
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=AT_ONCE, show_default=True, help="Downloads at the same time."
)
@patience_option("10m")
@json_option
@click.pass_context
def save(ctx: click.Context, *, id_: str, output: Path | None, follow: bool, at_once: int, patience: float) -> None:
    """Fetch the images of the batch or job ID into a folder, as <job id>-<number>.<kind>.

    Each file is whole or not there. What is there is left alone, so the same command again fetches the rest. Exit code
    1 if one could not be had.
    """
    screen: Screen = ctx.obj
    client = screen.client()
    folder = output or Path(id_.replace(":", "+").replace("/", "+"))
    jobs, expected = _jobs_of(screen, client, id_, follow=follow, patience=patience)
    numbers = {"saved": 0, "there": 0, "failed": 0}
    try:
        with counting(screen, "images", expected) as arrived:
            for one in client.save(jobs, folder, at_once):
                outcome = "failed" if one.path is None else "there" if one.was_there else "saved"
                numbers[outcome] += 1
                if screen.as_json:
                    path = None if one.path is None else str(one.path)
                    screen.document(
                        {"job": one.job, "outcome": outcome, "path": path, "url": one.url, "error": one.error}
                    )
                elif one.error:
                    screen.tell(f"{one.job}: {one.error}", "red")
                arrived()
    except KeyboardInterrupt:
        screen.tell(f"Stopped; nothing is half saved. The same command again fetches the rest into {folder}")
        ctx.exit(INTERRUPTED)
    if not screen.as_json:
        screen.say(
            f"{numbers['saved']:,} saved, {numbers['there']:,} were there, {numbers['failed']:,} failed; in {folder}"
        )
    ctx.exit(FAILED if numbers["failed"] else 0)


def _jobs_of(
    screen: Screen, client: Client, id_: str, *, follow: bool, patience: float
) -> tuple[Iterable[Job], int | None]:
    """The jobs of a batch or the one of that name, and how many images they bring where that is known."""
    try:
        batch: Batch = client.batch(id_)
    except NotFound:
        job = client.job(id_)
        if follow:
            job.wait()
        if not job.output:
            screen.tell(f"Job {id_} is {job.status}: it has no images.")
        return [job], len(job.output)
    if follow:
        return client.finished(batch, patience=patience, on_wait=screen.waiting), None
    return client.results(batch, ["completed"]), None


def _write(
    jobs: Iterable[Job], target: TextIO, line: Callable[[Job | None], str], arrived: Callable[[], None], *, flush: bool
) -> int:
    target.write(line(None))
    number = 0
    for job in jobs:
        number += 1
        target.write(line(job))
        if flush:
            target.flush()
        arrived()
    return number


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(output.name + ".part")
    try:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                yield file
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise click.FileError(str(output), error.strerror) from error
