"""The event stream: changes of state for Flower. It is bounded and may lose its oldest; nothing depends on it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import redis

from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE
from jobs.fields import is_text
from jobs.job import Job
from jobs.states import State
from jobs.store.context import StoreContext
from jobs.store.lua_source import CHANGES_KEPT

_GROUP = "watchers"
_READER = "watcher"


class StateChange(NamedTuple):
    """A job changed its state; `before` is None for a new one. Times: seconds since 1970 by Redis's clock.

    `id`: the job's, or that of a Celery task that became no job or waits for the job `job_id`. `due`: when a new job
    may begin. `began`: its last start. `retries`: how often it was started again.
    """

    id: str
    state: State
    before: State | None
    at: float
    created: float
    model: str
    batch: str | None
    reason: str | None
    due: float
    began: float | None = None
    retries: int = 0
    job_id: str = ""


class EventStream:
    """Reads the stream. Raises `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._stream = context.keys.singleton("changes")

    @translate_errors()
    def read_new(self, most: int) -> list[StateChange]:
        """Read up to `most` changes that no caller has read yet, oldest first. Each is returned once."""
        try:
            answer = self._read_group(most)
        except redis.ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            self._client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
            answer = self._read_group(most)
        return list(_changes(answer))

    @translate_errors()
    def add_task(self, task_id: str, state: State, job: Job | None = None, *, new: bool, reason: str = "") -> None:
        """Add the state of a Celery task whose id is not that of a job. `job`: the one that it waits for.

        `new`: nothing was added about the task before.
        """
        seconds, micros = self._client.time()
        now = seconds * 1_000_000 + micros
        fields: Any = {
            "id": task_id,
            "state": state.value,
            "from": "" if new else State.QUEUED.value,
            "model": job.model if job else "",
            "created": str(now),
            "batch": "",
            "reason": reason,
            "due": "",
            "began": str(round(job.started_at.timestamp() * 1_000_000)) if job and job.started_at else "",
            "retries": str(max(job.attempt, job.starts) - 1 if job else 0),
            "job": job.id if job else "",
        }
        self._client.xadd(self._stream, fields, maxlen=CHANGES_KEPT, approximate=True)

    def _read_group(self, most: int) -> Any:
        return self._client.xreadgroup(_GROUP, _READER, {self._stream: ">"}, count=most, noack=True)


def _changes(answer: Any) -> Iterator[StateChange]:
    # RESP2 gives a list of (stream, entries), RESP3 a mapping of stream to lists of entries.
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    for _, entries in streams:
        for entry in entries[0] if entries and isinstance(entries[0], list) else entries:
            # Nothing depends on an entry: leave out unreadable ones.
            with suppress(*UNREADABLE):
                yield _change(*entry)


def _change(entry_id: str, fields: Mapping[str, str]) -> StateChange:
    # On the hot path: the worker reads four entries a job.
    get, job_id, before = fields.get, fields["id"], fields["from"]
    if not all(map(is_text, (job_id, fields["model"], fields["batch"], fields["reason"]))):
        raise ValueError("not UTF-8")
    # The version before wrote none of `due`, `began`, `retries` and `job`.
    due, began = get("due") or fields["created"], get("began")
    return StateChange(
        id=job_id,
        state=State(fields["state"]),
        before=State(before) if before else None,
        at=int(entry_id.partition("-")[0]) / 1_000,
        created=int(fields["created"]) / 1_000_000,
        model=fields["model"],
        batch=fields["batch"] or None,
        reason=fields["reason"] or None,
        due=int(due) / 1_000_000,
        began=int(began) / 1_000_000 if began else None,
        retries=int(get("retries", 0)),
        job_id=get("job") or job_id,
    )
