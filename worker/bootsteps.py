"""A bootstep that protects a worker from malformed messages.

Any client of the broker can write anything. Celery discards messages for unknown tasks, but one that it cannot parse
ends its consumer, and with it the process. On Redis such a message may then be put back and end the next worker, too.
Here it is logged and discarded. No job is lost by that, because every job has an alarm.
"""

import logging
from collections.abc import Callable
from queue import Empty
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

log = logging.getLogger(__name__)

#: Errors that parsing a message can raise. Connection errors are not among them: Celery handles those.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)

_Handler = Callable[..., Any]


class Guard(bootsteps.StartStopStep):
    """Wraps the message handlers of a consumer, at each of its connections."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        """Wrap Celery's handlers."""
        # Only channels of Redis have this handler of the reply to BRPOP.
        handlers = getattr(parent.task_consumer.channel, "handlers", {})
        if "BRPOP" in handlers:
            handlers["BRPOP"] = _guard_reply(handlers["BRPOP"])
        # The consumer's loop, its last step, creates the handler once.
        parent.create_task_handler = lambda: _guard_message(parent, type(parent).create_task_handler(parent))


def _guard_reply(handle: _Handler) -> _Handler:
    def guarded(**options: Any) -> Any:
        try:
            return handle(**options)
        except UNREADABLE as error:
            # The item has left its list already, so it cannot be delivered again.
            log.critical(
                "an item of a queue is not a message, it is discarded: %s: %.200s", type(error).__name__, error
            )
            raise Empty from None

    return guarded


def _guard_message(consumer: Any, handle: _Handler) -> _Handler:
    def guarded(message: Any) -> Any:
        try:
            return handle(message)
        except UNREADABLE as error:
            # Celery's way with a body that it cannot decode: log and acknowledge.
            return consumer.on_decode_error(message, error)

    return guarded
