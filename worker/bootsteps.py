"""Messages that are none. Whoever may write to the broker can write anything; it must not end a worker.

Celery throws away what it can take apart and does not know. What it cannot take apart ends its consumer, and with it
the process. On Redis such an item is gone by then, or else it is noted as unacknowledged, put back, and ends the next
worker too, for ever. Here it is told of in the log and thrown away: every job has an alarm.
"""

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

log = logging.getLogger(__name__)

#: What taking apart somebody's text can raise. None of these is an error of a connection: those are Celery's to see.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)

_Handler = Callable[..., Any]


class Guard(bootsteps.StartStopStep):
    """A step of a consumer's start, at each of its connections."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        """Stand between the queues and Celery."""
        # Of Redis's channels only: what handles the reply to their BRPOP.
        handlers = getattr(parent.task_consumer.channel, "handlers", {})
        if "BRPOP" in handlers:
            handlers["BRPOP"] = _read(handlers["BRPOP"])
        # The loop, which is the last step, asks for a handler once.
        parent.create_task_handler = lambda: _taken(parent, type(parent).create_task_handler(parent))


def _read(handle: _Handler) -> _Handler:
    def read(**options: Any) -> Any:
        try:
            return handle(**options)
        except UNREADABLE as error:
            # It has left its list with the reply, and nothing knows of it.
            log.critical("an item of a queue is no message and is thrown away: %s: %.200s", type(error).__name__, error)
            raise Empty from None

    return read


def _taken(consumer: Any, handle: _Handler) -> _Handler:
    def taken(message: Any) -> Any:
        try:
            return handle(message)
        except UNREADABLE as error:
            # As Celery does with a message whose body it cannot decode: a line in the log, and acknowledged.
            return consumer.on_decode_error(message, error)

    return taken
