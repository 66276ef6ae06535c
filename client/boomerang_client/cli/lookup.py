"""Find out whether an id names a job or a batch, and say so when a command expected the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import click

from boomerang_client.cli.screen import Command
from boomerang_client.client import Client
from boomerang_client.errors import NotFound, Unauthorized, UsageError
from boomerang_client.records import Batch, Job

_OTHER = {"job": "batch", "batch": "job"}


def kind_options(command: Command) -> Command:
    """Add `--job` and `--batch`, which say what ID is."""
    command = click.option("--batch", "is_batch", is_flag=True, help="ID is a batch.")(command)
    return click.option("--job", "is_job", is_flag=True, help="ID is a job. Needed only if a batch has the same id.")(
        command
    )


def kind_of(*, is_job: bool, is_batch: bool) -> str | None:
    """Return "job" or "batch" as the options say, or None if they say nothing. Raises click's UsageError for both."""
    if is_job and is_batch:
        raise click.UsageError("--job and --batch exclude each other. Leave one of them out.")
    return "job" if is_job else "batch" if is_batch else None


def find(client: Client, id_: str, kind: str | None) -> Job | Batch:
    """Return the job or batch with this id.

    Raises NotFound; UsageError when a job and a batch have the id and `kind` does not say which one.
    """
    if kind is not None:
        with expecting(client, id_, kind):
            return client.job(id_) if kind == "job" else client.batch(id_)
    try:
        job, batch = _job(client, id_), _batch(client, id_)
    except Unauthorized as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        raise UsageError(f"{error} So say what {id_} is: add --job or --batch.") from error
    if job and batch:
        raise UsageError(f"There are a job {id_} and a batch {id_}. Say which one: add --job or --batch.")
    found = job or batch
    if found is None:
        detail = f"There is no job or batch {id_}. Check the id. Finished work is kept for a limited time."
        raise NotFound(HTTPStatus.NOT_FOUND, detail=detail)
    return found


@contextmanager
def expecting(client: Client, id_: str, kind: str) -> Iterator[None]:
    """Explain a NotFound inside the block when the id belongs to the other kind."""
    try:
        yield
    except NotFound as error:
        other = _OTHER[kind]
        if (_job if other == "job" else _batch)(client, id_) is None:
            raise
        detail = f"There is no {kind} {id_}: that is a {other}. Look at it: boomerang show {id_}"
        raise NotFound(HTTPStatus.NOT_FOUND, detail=detail) from error


def _job(client: Client, id_: str) -> Job | None:
    try:
        return client.job(id_)
    except NotFound:
        return None


def _batch(client: Client, id_: str) -> Batch | None:
    try:
        return client.batch(id_)
    except (NotFound, UsageError):  # the latter for an id of the form of a file's name
        return None
