"""boomerang.generate as Celery sees it: received at once, parked without an end, ended as any task of its own."""

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
from worker.generate.enqueue import Asked, Ending, GenerateHandler
from worker.messages import FINISHES, continuation_of

log = logging.getLogger(__name__)

#: Seconds until a message comes again that could not be recorded.
PAUSE = 1.0


class AtOnce(Request):
    """A message that is never put off and never discarded, whatever its countdown, its expires or a revoke say.

    The record decides about all three; the task finds `eta` and `expires` in its request. Celery itself would keep a
    countdown in this worker's memory, unacknowledged, where a broker on Redis gives it out again and again (VISIBILITY
    in worker.app), and would throw away the message that is to finish a revoked task.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request_dict.update(eta=self.eta, expires=self.expires)
        self._eta = self._expires = None

    def revoked(self) -> bool:
        """Never by this worker's own memory (worker.generate.revoke)."""
        return False


def task_class(door: Callable[[], GenerateHandler]) -> type:
    """The base class of the task, whose body is `end(ask())`."""

    class Generate(Task):
        Request = AtOnce
        # What a producer is told by an exception is no error of ours: no traceback in the log.
        throws = (GenerationFailed, GenerationRefused)

        def after_return(self, *_: Any) -> None:
            """The result is stored, links are called, the chord has counted it: for this message all is done."""
            ending = self.request.get("ending")
            if ending is None:
                return
            try:
                door().acknowledge(ending)
            except StoreUnavailable as error:
                log.warning("task %s: finished but not noted, it may be finished again: %s", self.request.id, error)

    return Generate


def asked_of(context: Any, request: dict[str, Any]) -> Asked:
    """What a message says, apart from Celery's form of it. `context` is the task's request."""
    now = datetime.now(UTC)
    return Asked(
        task_id=context.id,
        request=request,
        continuation=continuation_of(context),
        finishes=context.get(FINISHES) or "",
        delay=max((context.eta - now).total_seconds(), 0.0) if context.eta else 0.0,
        expires_in=(context.expires - now).total_seconds() if context.expires else None,
    )


def end(task: Any, ending: Ending | None) -> dict[str, Any] | None:
    """Return or raise what a task's body is to return or raise; None parks."""
    context = task.request
    if ending is None:
        _let_go(context, ignore_result=True)
        return None
    context.ending = ending
    if not ending.first_delivery:
        _let_go(context)
    match ending.outcome:
        case TaskRevokedError() as error:
            # Celery's own state for it; an exception raised would be a FAILURE. Whoever waits for its end is told.
            store = not context.ignore_result
            task.backend.mark_as_failure(context.id, error, request=context, store_result=store, state=states.REVOKED)
            _let_go(context, ignore_result=True)
            return None
        case Exception() as error:
            raise error
        case view:
            return view


def put_off(task: Any, asked: Asked, error: StoreUnavailable, recovered: Callable[[], bool]) -> None:
    """The jobs' Redis takes nothing now: send the same message again, a little later.

    The one that is to finish a parked task is not sent again: it is owed, so the job's alarm sends another.
    """
    log.warning("task %s: not recorded, it comes again: %s", task.request.id, error)
    time.sleep(PAUSE)
    with suppress(StoreUnavailable):
        recovered()
    context = task.request
    if asked.finishes:
        _let_go(context, ignore_result=True)
        return
    again = {"eta": context.eta} if context.eta else {"countdown": 0}
    # Not a rejected message: a quorum queue of RabbitMQ throws away what was rejected a number of times.
    retry = task.retry(exc=error, max_retries=None, throw=False, **again)
    # Its state stays PENDING until the job ends.
    context.ignore_result = True
    raise retry


def _let_go(context: Any, **more: Any) -> None:
    """Nothing linked is called and no chord is told; with `ignore_result` no result is stored either.

    Raising Ignore would do the same, but builds a traceback object: up to a third of the throughput.
    """
    context.update(callbacks=None, errbacks=None, chain=None, chord=None, **more)
