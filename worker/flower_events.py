"""Celery task events for jobs of every door, so that Flower shows their true states.

A job at the provider is no running task, so no worker would send these; they are made from the stream of changes. The
types are Celery's own (docs "Task events") but for `task-in-progress`, `task-in-doubt` and `task-cancelled`, which
Flower shows as states IN-PROGRESS, IN-DOUBT and CANCELLED; Celery's REVOKED would rank below the first two and not be
shown.
"""

from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.events import EventDispatcher

from jobs.job import Result
from jobs.states import State
from jobs.store.event_stream import StateChange
from jobs.store.store import Store
from worker.messages import GENERATE, SUBMIT

#: Changes told in one round; what is beyond comes with the next, what is beyond the stream's length is never told.
MOST = 5_000
#: Changes put into one message.
GROUP = 500
#: States in which an event carries the job's result.
_TOLD_WITH_RESULT = frozenset({State.COMPLETED, State.FAILED})


class Dispatcher(EventDispatcher):
    """Celery's, which never waits until the broker is back.

    A worker's sign of life to Flower is sent from its only loop. Celery tries that again without an end, and a worker
    whose broker does not answer would hear neither SIGTERM nor anything else. What is not sent goes with the next one.
    """

    def send(self, type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002 - Celery's own name
        """Send an event, with one try."""
        return super().send(type, *args, **{**fields, "retry": False})


def publish_changes(app: Celery, store: Store, hostname: str) -> int:
    """Send events for the changes since the last call, by whomever. Returns how many changes there were."""
    changes = store.events.read_new(MOST)
    if not changes:
        return 0
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(
            connection, hostname=hostname, buffer_group=frozenset({"task"}), buffer_limit=GROUP, enabled=True
        )
        with dispatcher:
            for start in range(0, len(changes), GROUP):
                _send(dispatcher, store, changes[start : start + GROUP])
            dispatcher.flush()
    return len(changes)


def _send(dispatcher: Any, store: Store, changes: list[StateChange]) -> None:
    ids = list(dict.fromkeys(change.id for change in changes if change.state in _TOLD_WITH_RESULT))
    results = dict(zip(ids, store.jobs.results(ids), strict=True))
    for change in changes:
        for kind, fields in events_of(change, results.get(change.id)):
            dispatcher.send(kind, uuid=change.id, timestamp=change.at, local_received=change.at, **fields)


def events_of(change: StateChange, result: Result | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that tell a change: (type, fields). `result` is the job's as it stands by now, if it has one."""
    error = (result.error if result else None) or {}
    match change.state:
        case State.QUEUED if change.before is None:
            about = _about(change)
            yield "task-sent", about
            yield "task-received", about
        case State.QUEUED:
            yield "task-retried", {"exception": change.reason or "queued again", "traceback": ""}
        case State.SUBMITTING:
            yield "task-started", {}
        case State.IN_PROGRESS:
            yield "task-in-progress", {}
        case State.IN_DOUBT:
            yield "task-in-doubt", {}
        case State.COMPLETED:
            urls = ", ".join(each.get("url", "") for each in result.output) if result else ""
            yield "task-succeeded", {"result": urls, "runtime": change.at - change.created}
        case State.CANCELLED:
            yield "task-cancelled", {}
        case State.FAILED | State.EXPIRED:
            said = f"{error.get('code', '')} {error.get('message', change.reason or change.state.value)}".strip()
            yield "task-failed", {"exception": said, "traceback": ""}


def _about(change: StateChange) -> dict[str, Any]:
    kwargs = {"model": change.model, "batch": change.batch} if change.batch else {"model": change.model}
    return {
        "name": GENERATE,
        "args": "()",
        "kwargs": repr(kwargs),
        "retries": 0,
        "queue": SUBMIT,
        "routing_key": SUBMIT,
        "root_id": change.id,
    }
