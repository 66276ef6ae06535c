"""The end of a Celery message: its result is stored and what follows it is called, as Celery's own worker does.

Celery's worker would do it after the task's body and could not report what failed. Here an error leaves the message to
be ended again, or is an outcome of its own.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from celery import Celery, group, states
from celery.exceptions import TaskRevokedError
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps

from jobs.errors import Unroutable
from worker.errors import MessageUnfinished
from worker.generate.enqueue import Ending

log = logging.getLogger(__name__)

#: Returns what is wrong with each task of a continuation (JSON) that would reach no queue.
Unreachable = Callable[[str], Sequence[str]]

#: Attempts to end a message after which such an error is final. In Celery's own worker it is at once.
MOST_ATTEMPTS = 5


def end_message(task: Any, ending: Ending, unreachable: Unreachable) -> None:
    """Store the outcome and call what follows. Raises MessageUnfinished if that has to be done again."""
    backend = task.backend
    last = ending.attempts >= MOST_ATTEMPTS
    unavailable = _unavailable(task.app)
    try:
        outcome = ending.outcome
        if not isinstance(outcome, Exception):
            if ending.attempts and not task.request.ignore_result:
                # Perhaps the result could not be stored the last time. What follows would be sent again each time.
                backend.store_result(task.request.id, None, states.PENDING, request=task.request)
            if not last:
                _check_queues(unreachable, link=task.request.callbacks, chain=(task.request.chain or [])[-1:])
            error = _call_next(task, outcome, unavailable, last=last)
            if error is None:
                backend.mark_as_done(task.request.id, outcome, task.request)
                return
            log.warning(
                "task %s: what follows it cannot be sent, so it fails. The job's record keeps its result: %s: %s",
                task.request.id,
                type(error).__name__,
                error,
            )
            outcome = error
        _fail(task, outcome, unavailable, unreachable, last=last)
    except unavailable as error:
        raise MessageUnfinished(f"{type(error).__name__}: {error}") from error


@cache
def _unavailable(app: Celery) -> tuple[type[Exception], ...]:
    """Return the errors of a broker or result backend that does not accept messages or results now.

    A queue or exchange may be missing for a moment, while it is recreated.
    """
    broker, backend = app.connection_for_write(), app.backend
    return (
        *(OperationalError, OSError, Unroutable, *broker.channel_errors),
        *backend.connection_errors,
        *backend.channel_errors,
    )


def _check_queues(unreachable: Unreachable, **signatures: Any) -> None:
    """Raise `Unroutable` if one of several signatures would reach no queue.

    Otherwise each attempt to send that one would send the others again.
    """
    given = {name: each or [] for name, each in signatures.items()}
    if sum(map(len, given.values())) > 1 and (lost := unreachable(dumps(given))):  # type: ignore[no-untyped-call]
        raise Unroutable("; ".join(lost))


def _call_next(
    task: Any, view: dict[str, Any], unavailable: tuple[type[Exception], ...], *, last: bool
) -> Exception | None:
    """Send the links, then the next task of the chain, as `celery.app.trace` does. Return why that is impossible.

    A chord needs the result backend, too. So `unavailable` has the errors of both.
    """
    context, app = task.request, task.app
    sender = {"parent_id": context.id, "root_id": context.root_id or context.id, "priority": None}
    links = [app.signature(link) for link in context.callbacks or ()]
    try:
        if len(links) > 1:
            groups = [link for link in links if isinstance(link, group)]
            others = [link for link in links if not isinstance(link, group)]
            links = groups + ([group(others, app=app)] if others else [])
        for link in links:
            link.apply_async((view,), **sender)
        if context.chain:
            *rest, following = context.chain
            app.signature(following).apply_async((view,), chain=rest, **sender)
    except unavailable as error:
        if not last:
            raise
        return error
    except Exception as error:  # noqa: BLE001 - wrong arguments, an unknown serializer …: any error ends a native task
        return error
    return None


def _fail(
    task: Any, error: Exception, unavailable: tuple[type[Exception], ...], unreachable: Unreachable, *, last: bool
) -> None:
    """Store the error, fail the chord and the chain, and call the errbacks."""
    context, backend = task.request, task.backend
    # Celery calls no errbacks of a revoked task. Here another entry point may have cancelled the job.
    state = states.REVOKED if isinstance(error, TaskRevokedError) else states.FAILURE
    store = not context.ignore_result
    backend.mark_as_failure(context.id, error, request=context, store_result=store, call_errbacks=False, state=state)
    context.update(chord=None, chain=None)
    try:
        if not last:
            _check_queues(unreachable, link_error=context.errbacks)
        backend.mark_as_failure(context.id, error, request=context, store_result=False, state=state)
    except unavailable:
        if not last:
            raise
        log.exception("task %s: its errbacks are not called", context.id)
    except Exception:
        # Celery would begin again, and call those that it could call twice.
        log.exception("task %s: an errback cannot be sent", context.id)
