"""Reads the log of notifications, sends some again for their producer, and enables receivers (jobs.delivery_log)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.delivery_log import (
    EVENT_MARK,
    LETTERS,
    STATES,
    Attempt,
    EnableOutcome,
    Notification,
    NotificationPage,
    NotificationState,
    ReceiverHealth,
    ReplayOutcome,
)
from jobs.fields import Field, printable
from jobs.job import Job
from jobs.producer_ids import given_id, owner_in
from jobs.receivers import receiver_of
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.units import duration_micros, from_micros, to_micros

#: Seconds between two notifications that are sent again: so many at once do not delay what is due meanwhile.
DISTANCE = 0.02
#: Notifications with exactly the same time that a page tells apart: more than one step of a sweep makes.
_TIES = 1_000
#: Most notifications that are read for one page.
SCAN = 2_000
#: Redis keeps a score exactly below this number (µs).
_NEVER = 2**53


class DeliveryLog:
    """The log of notifications. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._jobs = jobs

    # --- read -------------------------------------------------------------------------------------------------------

    @translate_errors()
    def of_batch(self, batch_id: str) -> list[Notification]:
        """Read the notifications of a batch's events, oldest first."""
        ids: Any = self._client.lrange(self._keys.member("batch_events", batch_id), 0, -1)
        return self._read(list(map(str, ids)))

    def of_job(self, job: Job) -> Notification | None:
        """Read the notification of a job; None if it notifies nobody, or has not ended."""
        found = self._read([job.id])
        return found[0] if found else None

    def page(
        self,
        owners: Sequence[str],
        states: Sequence[NotificationState] = (),
        *,
        host: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> NotificationPage:
        """List notifications of these producers, last changed first.

        `host`: only those whose last attempt went to this receiver (`jobs.receivers.receiver_of`). `since`: only those
        that changed then or later. A page by host may be short although more follow. Raises `ValueError` for a cursor
        that is none.
        """
        after, seen, found = _read_cursor(cursor), 0, list[Notification]()
        letters = [LETTERS[state] for state in states or NotificationState]
        while seen < SCAN:
            entries = self._entries(owners, letters, since, after, limit)
            read = {each.id: each for each in self._read([job_id for _, job_id in entries])}
            for entry in entries:
                each = read.get(entry[1])
                if each is None or (host is not None and _host(each) != host):
                    continue
                found.append(each)
                if len(found) == limit:
                    is_last = entry == entries[-1] and len(entries) < limit
                    return NotificationPage(notifications=tuple(found), cursor=None if is_last else _cursor(entry))
            if len(entries) < limit:
                return NotificationPage(notifications=tuple(found), cursor=None)
            after, seen = entries[-1], seen + len(entries)
        return NotificationPage(notifications=tuple(found), cursor=_cursor(after) if after else None)

    @translate_errors()
    def _entries(
        self,
        owners: Sequence[str],
        letters: Sequence[str],
        since: datetime | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[tuple[int, str]]:
        """Return (µs, job id) of the next notifications, the last changed first."""
        newest, oldest = str(after[0]) if after else "+inf", str(to_micros(since)) if since else "-inf"
        most = limit + (_TIES if after else 0)
        with self._client.pipeline(transaction=False) as pipe:
            for owner in owners:
                for letter in letters:
                    key = self._keys.member("notifications", f"{letter}|{owner}")
                    pipe.zrevrangebyscore(key, newest, oldest, 0, most, withscores=True)
            rows = pipe.execute()
        entries = {(int(score), str(job_id)) for job_id, score in chain.from_iterable(rows)}
        return sorted((each for each in entries if after is None or each < after), reverse=True)[:limit]

    @translate_errors()
    def _read(self, ids: Sequence[str]) -> list[Notification]:
        """Read notifications, without jobs that were deleted meanwhile, and those that notify nobody."""
        if not ids:
            return []
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                if job_id.startswith(EVENT_MARK):
                    pipe.hmget(self._keys.member("event", job_id), _EVENT)
                else:
                    pipe.hmget(self._keys.member("job", job_id), [Field.NOTIFICATION, Field.UPDATED_AT])
                pipe.lrange(self._keys.member("attempts", job_id), 0, -1)
            rows: Any = pipe.execute()
        found = []
        jobs = iter(self._jobs.get_many([each for each in ids if not each.startswith(EVENT_MARK)]))
        for name, fields, texts in zip(ids, rows[::2], rows[1::2], strict=True):
            job = None if name.startswith(EVENT_MARK) else next(jobs)
            with decoding(f"notification {printable(name)}"):
                attempts = tuple(map(Attempt.from_json, texts))
                read = _of_event if name.startswith(EVENT_MARK) else partial(_of_job, job)
                if notification := read(name, fields, attempts):
                    found.append(notification)
        return found

    @translate_errors()
    def receivers(self, *owners: str) -> list[ReceiverHealth]:
        """Read how the receivers of producers are doing: of each, the one with the last answer first."""
        with self._client.pipeline(transaction=False) as pipe:
            for owner in owners:
                pipe.zrevrange(self._keys.member("receivers", owner), 0, -1)
            names = pipe.execute()
        known = [(owner, str(name)) for owner, of_owner in zip(owners, names, strict=True) for name in of_owner]
        with self._client.pipeline(transaction=False) as pipe:
            for owner, name in known:
                pipe.hgetall(self._keys.member("receiver", f"{owner}|{name}"))
            rows = pipe.execute()
        return [_health(owner, name, row) for (owner, name), row in zip(known, rows, strict=True) if row]

    # --- change -----------------------------------------------------------------------------------------------------

    def replay(self, ids: Sequence[str], caller: str) -> list[ReplayOutcome]:
        """Send the notifications of these jobs of the caller again, one after another. Returns an outcome for each."""
        if not ids:
            return []
        return list(map(ReplayOutcome, self._scripts.call("replay", caller, duration_micros(DISTANCE), *ids)))

    def enable(self, owner: str, receiver: str) -> EnableOutcome:
        """Enable a receiver that was disabled, and close its circuit breaker."""
        return EnableOutcome(self._scripts.call("enable_receiver", owner, receiver))


#: What is read of an event.
_EVENT = ("state", "at", "batch", "owner", "kind", "error")


def _of_job(job: Job | None, name: str, fields: Sequence[Any], attempts: tuple[Attempt, ...]) -> Notification | None:
    letter, changed = fields
    if job is None or letter not in STATES:
        return None
    return Notification(
        id=name,
        job=job.given_id,
        batch=None if job.batch is None else given_id(job.batch),
        owner=owner_in(job.id) or job.owner,
        event=f"job.{job.state}",
        state=STATES[letter],
        changed_at=attempts[-1].at if attempts else from_micros(changed),
        attempts=attempts,
        error=job.delivery_error if job.undelivered or job.owed else None,
    )


def _of_event(name: str, fields: Sequence[Any], attempts: tuple[Attempt, ...]) -> Notification | None:
    letter, at, batch, owner, kind, error = fields
    if letter not in STATES:
        return None
    return Notification(
        id=name,
        job=None,
        batch=given_id(batch),
        owner=owner,
        event=f"batch.{kind}",
        state=STATES[letter],
        changed_at=attempts[-1].at if attempts else from_micros(at),
        attempts=attempts,
        error=error or None,
    )


def _host(notification: Notification) -> str | None:
    """Return the receiver of the last attempt."""
    return receiver_of(notification.attempts[-1].address) if notification.attempts else None


def _health(owner: str, name: str, row: dict[str, str]) -> ReceiverHealth:
    def moment(field: str) -> datetime | None:
        # The version before stored a 1.
        return from_micros(row[field]) if len(row.get(field, "")) > 1 else None

    return ReceiverHealth(
        owner=owner,
        name=name,
        accepted_at=moment("accepted"),
        failing_since=moment("failing_since"),
        failed_at=moment("failed_at"),
        error=row.get("error", ""),
        failures=int(row.get("failures", 0)),
        open_until=moment("open_until"),
        disabled_at=moment("disabled_at"),
    )


def _cursor(entry: tuple[int, str]) -> str:
    return urlsafe_b64encode(json.dumps(entry).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> tuple[int, str] | None:
    if cursor is None:
        return None
    match json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
        case [int(at), str(job_id)] if 0 <= at < _NEVER:
            return int(at), job_id  # true is 1
    raise ValueError("not a cursor of this log")
