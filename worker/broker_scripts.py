"""A bootstep that loads the scripts of Celery's libraries into the broker, for producers that may load none."""

import logging
from typing import Any

from celery import bootsteps
from celery.backends.redis import CHORD_CLAIM_EXTEND_LUA, CHORD_CLEANUP_LUA, CHORD_PART_RETURN_LUA
from celery.worker.consumer.connection import Connection

from jobs.connections.broker_scripts import load_scripts
from jobs.errors import AccessRefused, StoreUnavailable

log = logging.getLogger(__name__)

#: The scripts with which Celery counts the members of chords.
CHORDS = (CHORD_PART_RETURN_LUA, CHORD_CLEANUP_LUA, CHORD_CLAIM_EXTEND_LUA)


class LoadScripts(bootsteps.StartStopStep):
    """Loads the scripts at each connection of a consumer, because a server that restarts forgets them."""

    requires = (Connection,)

    def start(self, parent: Any) -> None:
        """Load the scripts where the broker is a Redis. A failure is logged: the worker itself needs none of them."""
        channel = parent.connection.default_channel
        if not hasattr(channel, "conn_or_acquire"):
            return
        try:
            with channel.conn_or_acquire() as client:
                load_scripts(client, CHORDS)
        except AccessRefused as error:
            log.warning("the broker's scripts cannot be loaded, so workers of producers may fail: %s", error.reply)
        except StoreUnavailable as error:
            log.warning("the broker's scripts are not loaded: %s", error)
