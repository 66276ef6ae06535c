"""The Celery side of boomerang.generate: parse a message, park it, and end it like any other task."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from celery import Task, states
from celery.exceptions import TaskRevokedError
from celery.worker.request import Request

from jobs.errors import StoreUnavailable
from worker.errors import GenerationFailed, GenerationRefused
from worker.generate.enqueue import Ending, GenerateCall, GenerateHandler
from worker.messages import FINISHES, continuation_of

log = logging.getLogger(__name__)

#: Seconds until a message that could not be recorded is sent again.
RETRY_DELAY = 1.0


class ImmediateRequest(Request):
    """A message that runs at once, whatever its countdown, its expires or a revoke say: the record decides about them.

    Celery would keep a message with a countdown unacknowledged in this worker's memory, and Redis would deliver it
    again after the visibility time-out. Celery would also discard the message that finishes a revoked task. The task
    finds `eta` and `expires` in its request.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict.update(eta=self.eta, expires=self.expires)
        self._eta = self._expires = None

    def revoked(self) -> bool:
        """Return False: revokes cancel jobs (worker.generate.revoke)."""
        return False


def task_class(handler: Callable[[], GenerateHandler]) -> type:
    """Return the base class of the task boomerang.generate."""

    class Generate(Task):
        Request = ImmediateRequest
        # Errors meant for the producer: Celery logs no traceback for them.
        throws = (GenerationFailed, GenerationRefused)

        def after_return(self, *_: Any) -> None:
            """Record that the result is stored, links were called and the chord was updated."""
            ending = self.request.get("ending")
            if ending is None:
                return
            try:
                handler().acknowledge(ending)
            except StoreUnavailable as error:
                log.warning(
                    "task %s: finished, but that could not be recorded, so it may be finished again: %s",
                    self.request.id,
                    error,
                )

    return Generate


def parse_call(context: Any, request: dict[str, Any]) -> GenerateCall:
    """Parse a message. `context` is the task's request."""
    now = datetime.now(UTC)
    return GenerateCall(
        task_id=context.id,
        request=request,
        continuation=continuation_of(context),
        finishes=context.get(FINISHES) or "",
        delay=max((context.eta - now).total_seconds(), 0.0) if context.eta else 0.0,
        expires_in=(context.expires - now).total_seconds() if context.expires else None,
    )


def finish_task(task: Any, ending: Ending | None) -> dict[str, Any] | None:
    """Return or raise the task's outcome. With `ending` None the message is parked."""
    context = task.request
    if ending is None:
        _drop_continuation(context, ignore_result=True)
        return None
    context.ending = ending
    if not ending.first_delivery:
        _drop_continuation(context)
    match ending.outcome:
        case TaskRevokedError() as error:
            # Raising it would end in FAILURE. This ends in REVOKED, and calls error callbacks and the chord.
            store = not context.ignore_result
            task.backend.mark_as_failure(context.id, error, request=context, store_result=store, state=states.REVOKED)
            _drop_continuation(context, ignore_result=True)
            return None
        case Exception() as error:
            raise error
        case view:
            return view


def retry_later(task: Any, call: GenerateCall, error: StoreUnavailable, recovered: Callable[[], bool]) -> None:
    """Send the same message again after a short wait, because the jobs' Redis does not accept it now.

    A message that finishes a parked one is not sent again: its delivery is still due, so the job's alarm sends another.
    """
    log.warning("task %s: not recorded, its message is sent again: %s", task.request.id, error)
    time.sleep(RETRY_DELAY)
    with suppress(StoreUnavailable):
        recovered()
    context = task.request
    if call.finishes:
        _drop_continuation(context, ignore_result=True)
        return
    again = {"eta": context.eta} if context.eta else {"countdown": 0}
    # Not by rejecting the message: a quorum queue of RabbitMQ drops one that was rejected several times.
    retry = task.retry(exc=error, max_retries=None, throw=False, **again)
    # The task's state stays PENDING until the job ends.
    context.ignore_result = True
    raise retry


def _drop_continuation(context: Any, **more: Any) -> None:
    """Remove links, chain and chord from the request. With `ignore_result` no result is stored either.

    Raising Ignore has the same effect, but building its traceback costs up to a third of the throughput.
    """
    context.update(callbacks=None, errbacks=None, chain=None, chord=None, **more)
