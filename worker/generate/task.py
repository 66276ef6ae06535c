"""The Celery side of boomerang.generate: parse a message, park it, and end it like any other task."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from celery import Task
from celery.exceptions import Reject
from celery.worker.request import Request

from jobs.errors import StoreUnavailable
from worker.errors import MessageUnfinished
from worker.generate.ending import end_message
from worker.generate.enqueue import TOO_DEEP, Ending, GenerateCall, GenerateHandler
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


class Generate(Task):
    """The base class of the task boomerang.generate."""

    Request = ImmediateRequest
    #: An outage lasts as long as it lasts. `retry(max_retries=None)` would mean this attribute: by default 3.
    max_retries = None

    def __call__(self, *_: Any, **request: Any) -> Any:
        """Run with the named arguments alone.

        The handler refuses positional ones. Celery would fail at each delivery of the message, and call errbacks again.
        """
        return self.run(**request)


def parse_call(context: Any, request: dict[str, Any]) -> GenerateCall:
    """Parse a message. `context` is the task's request."""
    now = datetime.now(UTC)
    try:
        continuation = continuation_of(context)
    except RecursionError:
        continuation = TOO_DEEP
    return GenerateCall(
        task_id=context.id,
        request=request,
        positional=len(context.args or ()),
        continuation=continuation,
        finishes=context.get(FINISHES) or "",
        delay=max((context.eta - now).total_seconds(), 0.0) if context.eta else 0.0,
        expires_in=(context.expires - now).total_seconds() if context.expires else None,
    )


def process(
    task: Any,
    call: GenerateCall,
    handler: GenerateHandler,
    report: Callable[[GenerateCall, Ending | None], None],
    recovered: Callable[[], bool],
) -> str:
    """Park the message or end it, and report which. Returns that for the log: the result is stored by then.

    Raises Celery's Retry if the same message was sent again, and Reject if it returns to its queue instead.
    """
    try:
        ending = handler(call)
        if ending is not None:
            if not ending.first_delivery:
                _drop_continuation(task.request)
            end_message(task, ending, handler.unreachable)
            _acknowledge(handler, ending, call.task_id)
        report(call, ending)
    except (StoreUnavailable, MessageUnfinished) as error:
        _retry_later(task, call, error, recovered)
        return "not finished"
    except Exception:
        if not call.finishes:
            raise
        # Celery would store a failure and call the errbacks, again at each repeat.
        log.exception("task %s: its message is not finished", call.task_id)
        ending = None
    _drop_continuation(task.request, ignore_result=True)
    return "ended" if ending else "parked"


def _acknowledge(handler: GenerateHandler, ending: Ending, task_id: str) -> None:
    try:
        handler.acknowledge(ending)
    except StoreUnavailable as error:
        log.warning(
            "task %s: finished, but that could not be recorded, so it may be finished again: %s", task_id, error
        )


def _retry_later(task: Any, call: GenerateCall, error: Exception, recovered: Callable[[], bool]) -> None:
    """Send the same message again after a short wait, because a server does not accept what it calls for now.

    A message that finishes a parked one is not sent again: its delivery is still due, so the job's alarm sends another.
    """
    log.warning("task %s: not finished, its message is sent again: %s", task.request.id, error)
    context = task.request
    time.sleep(RETRY_DELAY)
    with suppress(StoreUnavailable):
        recovered()
    if call.finishes:
        _drop_continuation(context, ignore_result=True)
        return
    again = {"eta": context.eta} if context.eta else {"countdown": 0}
    # Not by rejecting the message: a quorum queue of RabbitMQ drops one that was rejected several times.
    try:
        retry = task.retry(exc=error, throw=False, **again)
    except Reject as reject:
        # Celery would drop the message and fail its task.
        raise Reject(reject.reason, requeue=True) from None
    # The task's state stays PENDING until the job ends.
    context.ignore_result = True
    raise retry


def _drop_continuation(context: Any, **more: Any) -> None:
    """Remove links, chain and chord from the request. With `ignore_result` no result is stored either.

    Raising Ignore has the same effect, but building its traceback costs up to a third of the throughput.
    """
    context.update(callbacks=None, errbacks=None, chain=None, chord=None, **more)
