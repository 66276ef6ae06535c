"""The store that the environment names, for commands that a person runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from jobs.errors import SettingsInvalid, StoreUnavailable
from jobs.settings import Settings
from jobs.store import Store, connect

#: Exit codes: something was found, or not done; nothing could be looked at.
SOME, NOT_RUN = 1, 2


@contextmanager
def opened(context: click.Context) -> Iterator[Store]:
    """The store; where the settings are wrong or Redis does not answer, the command ends with `NOT_RUN`."""
    try:
        settings = Settings.from_env(os.environ)
        client = connect(settings.redis_url, most_connections=2)
        try:
            yield Store(client, settings)
        finally:
            client.close()
    except (SettingsInvalid, StoreUnavailable) as error:
        click.echo(str(error), err=True)
        context.exit(NOT_RUN)
