"""Celery task events about jobs of every entry point, so that Flower shows their real states.

No Celery task runs while a job is at the provider, so the events are made from the stream of state changes. Their types
are Celery's (docs, "Task events"), except `task-in-progress` and `task-in-doubt`. Flower shows those as IN-PROGRESS and
IN-DOUBT. celery.events.state merges events by the precedence of states, and a member of an event named as an attribute
of a task sets it: REVOKED ranks below the states of ours, so its event sets `state`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from celery import Celery, states
from celery.events import EventDispatcher

from jobs.result import Result
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
    ids = list(dict.fromkeys(change.job_id for change in changes if change.state in _WITH_RESULT))
    results = dict(zip(ids, store.jobs.results(ids), strict=True))
    for change in changes:
        for kind, fields in events_of(change, results.get(change.job_id)):
            at = {"timestamp": change.at, "local_received": change.at}
            dispatcher.send(kind, uuid=change.id, **at | fields)


def events_of(change: StateChange, result: Result | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events, (type, fields), of a change. `result` is the job's current result, if it has one."""
    if change.before is None or change.job_id != change.id:
        yield from _earlier(change)
    match change.state:
        case State.QUEUED if change.before is not None:
            again = {"exception": change.reason or "queued again", "traceback": "", "retries": change.retries}
            yield "task-retried", again
        case State.SUBMITTING:
            yield "task-started", {"retries": change.retries}
        case State.IN_PROGRESS:
            yield "task-in-progress", {}
        case State.IN_DOUBT:
            yield "task-in-doubt", {}
        case State.COMPLETED:
            urls = ", ".join(each.get("url", "") for each in result.output) if result else ""
            yield "task-succeeded", {"result": urls, "runtime": change.at - (change.began or change.created)}
        case State.CANCELLED:
            yield "task-revoked", _revoked(change)
        case State.EXPIRED if change.before is State.QUEUED:
            # It was never sent. Celery ends such a task as revoked, too.
            yield "task-revoked", _revoked(change)
        case State.FAILED | State.EXPIRED:
            yield "task-failed", {"exception": _failure(change, result), "traceback": ""}


def _earlier(change: StateChange) -> Iterator[tuple[str, dict[str, Any]]]:
    if change.before is None:
        yield "task-received", _about(change)
    if change.job_id != change.id and change.began and change.state.final:
        # A Celery task that waited for a job began with it.
        yield "task-started", {"timestamp": change.began, "local_received": change.began, "retries": change.retries}


def _revoked(change: StateChange) -> dict[str, Any]:
    expired = change.state is State.EXPIRED
    reason = {"exception": change.reason} if change.reason else {}
    return {"state": states.REVOKED, "terminated": False, "signum": None, "expired": expired, **reason}


def _failure(change: StateChange, result: Result | None) -> str:
    error = (result.error if result else None) or {}
    return f"{error.get('code', '')} {error.get('message', change.reason or change.state.value)}".strip()


def _about(change: StateChange) -> dict[str, Any]:
    waits = {"external_task_id": change.job_id} if change.job_id != change.id else {}
    given = {"model": change.model, "batch": change.batch, **waits}
    return {
        "name": GENERATE,
        "args": "()",
        "kwargs": repr({name: value for name, value in given.items() if value}),
        "retries": 0,
        # The time from which it may begin. A monitor does not count tasks with an ETA as prefetched by a worker, and
        # jobs never are: they wait in their records.
        "eta": datetime.fromtimestamp(change.due, UTC).isoformat(),
        "queue": SUBMIT,
        "routing_key": SUBMIT,
        "root_id": change.id,
    }
