"""A step of a worker that writes down, every few seconds, that its consumer goes on and has its broker."""

import logging
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from worker import health

log = logging.getLogger(__name__)

#: Seconds between two signs of life.
EVERY = 2.0


def heartbeat_step(file: Path) -> type:
    """The step that writes this file."""

    class Heartbeat(bootsteps.StartStopStep):
        requires = (Tasks,)
        _timer: Any = None

        def start(self, parent: Any) -> None:
            """At each connection: from now on, in the consumer's own loop, which stands still without a broker."""
            # The consumer drops this entry by itself when it loses its connection.
            self._timer = parent.timer.call_repeatedly(EVERY, _beat, (parent, file))
            _beat(parent, file)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's own signature
            if self._timer is not None:
                self._timer.cancel()

    return Heartbeat


def _beat(consumer: Any, file: Path) -> None:
    # Of our channels of Redis. RabbitMQ has heartbeats of its own: with the first that is missing the loop ends.
    listens = getattr(consumer.task_consumer.channel, "listens", lambda: True)
    if not listens():
        return
    try:
        health.write(file)
    except OSError as error:
        log.error("%s: the sign of life cannot be written: %s", file, error)  # noqa: TRY400 - one line says it
