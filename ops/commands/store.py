"""Open the store for a command, and explain errors that keep a command from running."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import redis
from kombu.exceptions import KombuError, OperationalError

from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.errors import AccessRefused, RecordDamaged, SettingsInvalid, StoreUnavailable
from jobs.logs import escape_unconfigured
from jobs.producer_ids import internal_id
from jobs.settings import Settings
from jobs.store.store import Store
from ops.commands.terminal import echo, escape_traceback, safe_errors

#: Exit codes: problems were found, or something was not done; the command could not run.
PROBLEMS, NOT_RUN = 1, 2
#: Errors that end a command with a message instead of a traceback.
CANNOT_RUN = (SettingsInvalid, StoreUnavailable, redis.RedisError, OperationalError, KombuError)
_AS_OPERATOR = (
    "Run it as the operator user: docker compose run --rm operator {command}; or set {variable} to that user's URL."
)
RULES = "Its access rules are those of another version: restart Redis with the files of this version's ops/access."
_NOT_SET = "BOOMERANG_REDIS_URL is not set. For a stack of boomerang-server up, run: source .boomerang/env"

#: For commands that take ids of jobs.
owner_option = click.option(
    "--owner",
    metavar="NAME",
    help="The producer whose jobs have these ids. Without it, give ids as this program prints them: dawn-1@shop.",
)


class Commands(click.Group):
    """The commands of `boomerang-server`. One that cannot run prints the reason and ends with exit code `NOT_RUN`."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options."""
        sys.excepthook = escape_traceback
        with safe_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        escape_unconfigured()
        try:
            with safe_errors():
                return super().invoke(ctx)
        except CANNOT_RUN as error:
            echo(describe_error(error, ctx.invoked_subcommand or "audit"), err=True)
            ctx.exit(NOT_RUN)


@contextmanager
def open_store(settings: Settings | None = None) -> Iterator[Store]:
    """Open the store of these settings, or of the environment's (BOOMERANG_REDIS_URL)."""
    settings = settings or Settings.from_env(os.environ)
    client = connect(settings.redis_url, most_connections=2)
    try:
        yield Store(client, settings)
    finally:
        client.close()


def jobs_named(store: Store, ids: Sequence[str], owner: str | None) -> list[str]:
    """Return the service's ids of jobs that an operator names, with or without their producer."""
    return [(owner and store.jobs.find(each, owner)) or internal_id(each, owner or "") for each in ids]


def describe_error(error: Exception, command: str) -> str:
    """Return the message for an error that ends a command, with a remedy."""
    known = translated(error) if isinstance(error, redis.RedisError) else error
    if isinstance(known, AccessRefused):
        return describe_refusal(known, "BOOMERANG_REDIS_URL", os.environ.get("BOOMERANG_REDIS_URL", ""), command)
    if isinstance(known, StoreUnavailable) and not os.environ.get("BOOMERANG_REDIS_URL"):
        return f"{known} {_NOT_SET}"
    if isinstance(known, (SettingsInvalid, StoreUnavailable, RecordDamaged)):
        return str(known)
    return f"Redis or the broker failed: {type(known).__name__}: {known}. Run boomerang-server doctor."


def describe_refusal(error: AccessRefused, variable: str, url: str, command: str) -> str:
    """Return the message for a Redis that refuses its user, with a remedy."""
    name = user_of(url)
    who = f"the user {name!r}" if name else "the default user (the URL names none)"
    do = RULES if name == "operator" else _AS_OPERATOR.format(command=command, variable=variable)
    return f"Redis ({variable}) refuses {who}: {error.reply.rstrip('.')}. {do}"


def user_of(url: str) -> str:
    """Return the user in a URL; empty if there is none, or the URL is invalid."""
    try:
        return unquote(urlsplit(url).username or "")
    except ValueError:
        return ""
