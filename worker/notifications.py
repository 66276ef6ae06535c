"""Notifications of ended jobs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs import logs
from jobs.claims import Due
from jobs.decoding import UNREADABLE
from jobs.delivery_log import Attempt
from jobs.errors import RecordDamaged
from jobs.jitter import Random, draw
from jobs.job import Delivery
from jobs.producer_ids import owner_in
from jobs.receivers import Turn, receiver_of
from jobs.store.store import Store
from schemas import GenerationRequest
from worker.notification import Notifier
from worker.sender import Deliver, Postponed, Sender, next_try

log = logging.getLogger(__name__)


class Notifications:
    """Notifications of ended jobs, which `sender` sends."""

    def __init__(self, store: Store, notifier: Notifier, sender: Sender, *, random: Random = draw) -> None:
        self._store = store
        self._notifier = notifier
        self._sender = sender
        self._random = random

    def begin(self, claimed: Sequence[tuple[Due, str | None]], deliver: Deliver) -> None:
        """Begin claimed notifications, or leave them waiting. With each comes the job's request, as it is stored.

        `deliver` gets the ids of jobs that are next. Those that are postponed are recorded in one round trip.
        """
        postponed: list[tuple[Due, float, str]] = []
        try:
            for due, text in claimed:
                with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
                    if found := self._begin(due, text, deliver):
                        postponed.append((due, found.seconds, found.why))
        finally:
            self._store.deliveries.postpone_notifications(postponed)

    def _begin(self, due: Due, text: str | None, deliver: Deliver) -> Postponed | None:
        try:
            return self._begin_one(due, text, deliver)
        except RecordDamaged as error:
            # Other jobs' notifications are not affected.
            log.error("job %s: its producer is not notified: %s", due.job.id, error)  # noqa: TRY400 - no traceback needed
            return None

    def _begin_one(self, due: Due, text: str | None, deliver: Deliver) -> Postponed | None:
        if self._sender.stopping:
            return None
        try:
            request = GenerationRequest.from_text(text) if text else None
            url = request.callback_url if request else None
            receiver = receiver_of(url) if url else ""
        except UNREADABLE as error:
            log.exception("job %s: its callback_url cannot be read", due.job.id)
            retry_later(self._store, due, Delivery.NOTIFY, type(error).__name__, self._random())
            return None
        if request is None or url is None or not receiver:
            self._store.deliveries.record(due, Delivery.NOTIFY)
            return None
        return self._sender.begin(_OfJob(url, due, request, self._store, self._notifier), deliver)


@dataclass(slots=True)
class _OfJob:
    """A `Notification` of the end of a job."""

    url: str
    due: Due
    request: GenerationRequest
    store: Store
    notifier: Notifier

    @property
    def name(self) -> str:
        return _name(self.due, Delivery.NOTIFY)

    @property
    def owner(self) -> str:
        return owner_in(self.due.job.id) or self.due.job.owner

    @property
    def about(self) -> Mapping[str, Any]:
        job = self.due.job
        return {"job": job.id, "attempt": job.attempt, "lane": job.lane}

    @property
    def message_id(self) -> str:
        return Notifier.message_id(self.due.job)

    @property
    def caused_at(self) -> datetime | None:
        return self.due.job.ended_at

    @property
    def claimed_at(self) -> datetime:
        return self.due.now

    @property
    def tries(self) -> int:
        return self.due.job.delivery_tries

    @property
    def error(self) -> str:
        return self.due.job.delivery_error or ""

    def begin(self, receiver: str, limit: int, *, last_chance: bool) -> Turn:
        return self.store.deliveries.begin_notification(self.due, receiver, limit, last_chance=last_chance)

    def post(self) -> int:
        return self.notifier(self.due.job, self.url, self.request.callback_form)

    def give_up(self, why: str) -> object:
        return self.store.deliveries.give_up(self.due, Delivery.NOTIFY, why)

    def end(self, turn: Turn, attempt: Attempt, **how: Any) -> list[str]:
        return self.store.deliveries.end_notification(self.due, turn, why=attempt.error, attempt=attempt, **how)


def retry_later(store: Store, due: Due, kind: Delivery, why: str, random: float) -> None:
    """Record that a delivery failed: repeat it, or give it up. `boomerang-server stuck` lists given-up ones."""
    wait = next_try(_name(due, kind), due.job.tries(kind), why, random)
    if wait is None:
        store.deliveries.give_up(due, kind, why)
    else:
        store.deliveries.record(due, kind, retry_in=wait, why=why)


def _name(due: Due, kind: Delivery) -> str:
    return f"job {due.job.id}: delivery ({kind.name.lower()})"
