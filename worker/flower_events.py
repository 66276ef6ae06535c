"""Celery task events about jobs of every entry point, so that Flower shows their real states.

No Celery task runs while a job is at the provider, so the events are made from the stream of state changes. Their types
are Celery's (docs, "Task events"), except `task-in-progress`, `task-in-doubt` and `task-cancelled`. Flower shows those
as IN-PROGRESS, IN-DOUBT and CANCELLED. Celery's REVOKED ranks below the first two, so Flower would not show it.
"""

from collections.abc import Iterator
from typing import Any

from celery import Celery
from celery.events import EventDispatcher

from jobs.job import Result
from jobs.states import State
from jobs.store.event_stream import StateChange
from jobs.store.store import Store
from jobs.task_names import GENERATE, SUBMIT

#: Most changes published in one round. The next round goes on; changes beyond the stream's length are never published.
MAX_CHANGES = 5_000
#: Changes in one message.
GROUP = 500
#: States whose events contain the job's result.
_WITH_RESULT = frozenset({State.COMPLETED, State.FAILED})


class Dispatcher(EventDispatcher):
    """Celery's event dispatcher, without retries.

    A worker sends its heartbeat events from its only loop. Celery would repeat them without end, and a worker whose
    broker does not answer would not react to SIGTERM. An event that could not be sent is sent with the next one.
    """

    def send(self, type: str, *args: Any, **fields: Any) -> Any:  # noqa: A002 - Celery's own name
        """Send an event once."""
        return super().send(type, *args, **{**fields, "retry": False})


def publish_changes(app: Celery, store: Store, hostname: str) -> int:
    """Send events for all changes since the last call in any process. Returns the number of changes."""
    changes = store.events.read_new(MAX_CHANGES)
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
    ids = list(dict.fromkeys(change.id for change in changes if change.state in _WITH_RESULT))
    results = dict(zip(ids, store.jobs.results(ids), strict=True))
    for change in changes:
        for kind, fields in events_of(change, results.get(change.id)):
            dispatcher.send(kind, uuid=change.id, timestamp=change.at, local_received=change.at, **fields)


def events_of(change: StateChange, result: Result | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events, (type, fields), of a change. `result` is the job's current result, if it has one."""
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
            text = f"{error.get('code', '')} {error.get('message', change.reason or change.state.value)}".strip()
            yield "task-failed", {"exception": text, "traceback": ""}


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
