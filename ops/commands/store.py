"""The store that the environment names, for commands that a person runs; and what a command says when it cannot run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import redis
from kombu.exceptions import KombuError, OperationalError

from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.errors import AccessRefused, RecordDamaged, SettingsInvalid, StoreUnavailable
from jobs.settings import Settings
from jobs.store.store import Store

#: Exit codes: something was found, or not done; nothing could be looked at.
SOME, NOT_RUN = 1, 2
#: What ends a command with a sentence instead of a traceback.
CANNOT_RUN = (SettingsInvalid, StoreUnavailable, redis.RedisError, OperationalError, KombuError)
_AS_OPERATOR = (
    "Run it as the operator user: docker compose run --rm operator {command}; or set {variable} to that user's URL."
)


class Commands(click.Group):
    """The commands of `boomerang-server`. Where one cannot run, it says why and ends with `NOT_RUN`."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except CANNOT_RUN as error:
            click.echo(sentence(error, ctx.invoked_subcommand or "audit"), err=True)
            ctx.exit(NOT_RUN)


@contextmanager
def opened() -> Iterator[Store]:
    """The store of the jobs."""
    settings = Settings.from_env(os.environ)
    client = connect(settings.redis_url, most_connections=2)
    try:
        yield Store(client, settings)
    finally:
        client.close()


def sentence(error: Exception, command: str) -> str:
    """What is said of an error that ends a command, with what to do."""
    told = translated(error) if isinstance(error, redis.RedisError) else error
    if isinstance(told, AccessRefused):
        return refused(told, "BOOMERANG_REDIS_URL", os.environ.get("BOOMERANG_REDIS_URL", ""), command)
    if isinstance(told, (SettingsInvalid, StoreUnavailable, RecordDamaged)):
        return str(told)
    return f"Redis or the broker does not answer this: {type(told).__name__}: {told}. See the doctor command."


def refused(error: AccessRefused, variable: str, url: str, command: str) -> str:
    """What is said where a Redis refuses its user."""
    name = user_of(url)
    who = f"the user {name!r}" if name else "the default user (its URL names none)"
    do = _AS_OPERATOR.format(command=command, variable=variable)
    return f"Redis ({variable}) refuses {who}: {error.said.rstrip('.')}. {do}"


def user_of(url: str) -> str:
    """The user that a URL names; '' where it names none, or cannot be read."""
    try:
        return unquote(urlsplit(url).username or "")
    except ValueError:
        return ""
