"""A bootstep that writes the health file every few seconds while the consumer runs and has its broker."""

import logging
from pathlib import Path
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from worker import health

log = logging.getLogger(__name__)

#: Seconds between two writes.
INTERVAL = 2.0


def heartbeat_step(file: Path) -> type:
    """Return the bootstep that writes this file."""

    class Heartbeat(bootsteps.StartStopStep):
        requires = (Tasks,)
        _timer: Any = None

        def start(self, parent: Any) -> None:
            """Start a timer in the consumer's loop, which stops without a broker. Called at each connection."""
            # The consumer drops this timer when it loses its connection.
            self._timer = parent.timer.call_repeatedly(INTERVAL, _beat, (parent, file))
            _beat(parent, file)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's own signature
            if self._timer is not None:
                self._timer.cancel()

    return Heartbeat


def _beat(consumer: Any, file: Path) -> None:
    # `listens` is a method of jobs.connections.kombu's channels for Redis. RabbitMQ has heartbeats that end the loop.
    listens = getattr(consumer.task_consumer.channel, "listens", lambda: True)
    if not listens():
        return
    try:
        health.write(file)
    except OSError as error:
        log.error("the health file %s cannot be written: %s", file, error)  # noqa: TRY400 - no traceback needed
