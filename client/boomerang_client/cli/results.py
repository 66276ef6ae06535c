"""Commands that fetch the outcome of jobs: results, save."""

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from boomerang_client.choices import FailureClass, Include, JobState
from boomerang_client.cli.formats import FORMATS, columns_of, csv_writer, ndjson_line
from boomerang_client.cli.id_completion import recent_batches
from boomerang_client.cli.lookup import expecting, find, kind_of, kind_options
from boomerang_client.cli.options import (
    examples,
    failure_option,
    json_option,
    patience_option,
    private_hosts_option,
    states_option,
)
from boomerang_client.cli.progress_bars import counting
from boomerang_client.cli.screen import FAILED, INTERRUPTED, Screen
from boomerang_client.client import Client
from boomerang_client.new_files import new_file
from boomerang_client.record_fields import INCLUDED
from boomerang_client.records import Batch, Job
from boomerang_client.saving import AT_ONCE
from boomerang_client.terminal import clean

follow_option = click.option("--follow", is_flag=True, help="Continue until all jobs have ended, in the order of ends.")


@click.command(
    short_help="Write all jobs of a batch.",
    epilog=examples(
        "boomerang results boats -o results.jsonl",
        "boomerang results boats -o results.csv --status failed",
        "boomerang results boats --follow | jq -r '.output[].url'",
    ),
)
@click.argument("batch", metavar="BATCH", shell_complete=recent_batches)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE, not stdout."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="ndjson: each job completely, one a line. csv: the main columns. Default: by FILE's name, else ndjson.",
)
@states_option
@failure_option("Only jobs that failed for this class of reasons")
@click.option(
    "--include",
    multiple=True,
    type=click.Choice(INCLUDED),
    help="request: the request of each job; in CSV its prompt, labels and metadata, a column each. revisions: earlier "
    "revisions of the request. reviews: what people think of the images. timeline: what happened to the job. These "
    "three are not in CSV. May be repeated.",
)
@follow_option
@patience_option("10m")
@json_option
@click.pass_context
def results(
    ctx: click.Context,
    *,
    batch: str,
    output: Path | None,
    format_: str | None,
    statuses: tuple[JobState, ...],
    classes: tuple[FailureClass, ...],
    include: tuple[Include, ...],
    follow: bool,
    patience: float,
) -> None:
    """Write all jobs of BATCH in input order, whatever their state. With --follow write them as they end.

    FILE appears when it is complete, not before.
    """
    screen: Screen = ctx.obj
    client = screen.client()
    with expecting(client, batch, "batch"):
        seen = client.batch(batch)
    jobs = (
        client.finished(seen, include=include, patience=patience, on_wait=screen.report_wait)
        if follow
        else client.results(seen, statuses, classes=classes, include=include)
    )
    wanted = (
        job
        for job in jobs
        if (not statuses or job.status.value in statuses) and (not classes or job.failure in classes)
    )
    csv = (format_ or (output.suffix[1:] if output else "")).lower() == "csv"
    try:
        with _target(output) as target, counting(screen, "results", seen.accepted) as count:
            more = columns_of(client.results(seen, include=["request"])) if csv and "request" in include else None
            written = _write(wanted, target, csv_writer(more) if csv else ndjson_line, count, flush=follow)
            if not statuses and not classes and written < seen.accepted:
                detail = f"Only {written:,} of {seen.accepted:,} results arrived. Try again: boomerang results"
                screen.message(f"Error: {detail} {clean(batch)}", "red")
                ctx.exit(FAILED)
    except KeyboardInterrupt:
        command = f"boomerang results {clean(batch)}{' --follow' * follow}"
        screen.message(f"Stopped. The batch continues. Try again: {command}")
        ctx.exit(INTERRUPTED)
    if output is not None:
        screen.message(f"{written:,} results in {output}")


@click.command(
    short_help="Save the images of a batch or a job in a folder.",
    epilog=examples(
        "boomerang save boats",
        "boomerang save boats -o images --follow",
        "boomerang save boats.17 -o images",
    ),
)
@click.argument("id_", metavar="ID", shell_complete=recent_batches)
@kind_options
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to save. Default: a folder named after ID.",
)
@follow_option
@click.option(
    "--at-once",
    type=click.IntRange(1, 64),
    default=AT_ONCE,
    show_default=True,
    metavar="1-64",
    help="Simultaneous downloads.",
)
@patience_option("10m")
@private_hosts_option
@json_option
@click.pass_context
def save(
    ctx: click.Context,
    *,
    id_: str,
    output: Path | None,
    follow: bool,
    at_once: int,
    patience: float,
    private_hosts: bool,
    is_job: bool,
    is_batch: bool,
) -> None:
    """Save the images of the batch or job ID in a folder, as <job id>-<number>.<kind>.

    A file is complete or does not exist. Files that exist are kept, so the same command again fetches what is missing.
    The exit code is 1 if an image could not be saved.
    """
    screen: Screen = ctx.obj
    client = screen.client(private_hosts=private_hosts or None)
    folder = output or Path(id_.replace(":", "+").replace("/", "+"))
    found = find(client, id_, kind_of(is_job=is_job, is_batch=is_batch))
    numbers = {"saved": 0, "there": 0, "failed": 0}
    try:
        jobs, expected = _jobs_of(screen, client, found, follow=follow, patience=patience)
        with counting(screen, "images", expected) as count:
            for one in client.save(jobs, folder, at_once):
                outcome = "failed" if one.path is None else "there" if one.was_there else "saved"
                numbers[outcome] += 1
                if screen.as_json:
                    path = None if one.path is None else str(one.path)
                    screen.result_json(
                        {"job": one.job, "outcome": outcome, "path": path, "url": one.url, "error": one.error}
                    )
                elif one.error:
                    screen.message(f"{clean(one.job)}: {clean(one.error)}", "red")
                count()
    except KeyboardInterrupt:
        screen.message(f"Stopped. Every saved file is complete. The same command again fetches the rest into {folder}")
        ctx.exit(INTERRUPTED)
    if not screen.as_json:
        screen.result(
            f"{numbers['saved']:,} saved, {numbers['there']:,} were there, {numbers['failed']:,} failed; in {folder}"
        )
    ctx.exit(FAILED if numbers["failed"] else 0)


def _jobs_of(
    screen: Screen, client: Client, found: Job | Batch, *, follow: bool, patience: float
) -> tuple[Iterable[Job], int | None]:
    """Return the jobs whose images to save, and the number of images if it is known."""
    if isinstance(found, Batch):
        if follow:
            return client.finished(found, patience=patience, on_wait=screen.report_wait), None
        return client.results(found, ["completed"]), None
    if follow:
        found.wait()
    if not found.output:
        screen.message(f"Job {clean(found.id)} is {found.status.words}: it has no images.")
    return [found], len(found.output)


def _write(
    jobs: Iterable[Job], target: TextIO, line: Callable[[Job | None], str], count: Callable[[], None], *, flush: bool
) -> int:
    target.write(line(None))
    number = 0
    for job in jobs:
        number += 1
        target.write(line(job))
        if flush:
            target.flush()
        count()
    return number


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with (
            new_file(output.parent) as (file, finish),
            io.TextIOWrapper(file, "utf-8", newline="") as text,
        ):
            yield text
            text.flush()
            finish(output)
    except OSError as error:
        raise click.FileError(str(output), error.strerror or str(error)) from error
