"""Notifications of batches' events. They share places, circuit breakers and threads with those of jobs."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.delivery_log import Attempt
from jobs.errors import BatchNotFound, RecordDamaged
from jobs.producer_ids import given_id, owner_in
from jobs.receivers import Turn
from jobs.serializers.batches import serialize_batch
from jobs.store.batch_events import BatchEvent
from jobs.store.store import Store
from worker.notification import Notifier
from worker.sender import Deliver, Sender

log = logging.getLogger(__name__)


class BatchNotifications:
    """Notifications of events of batches, which `sender` sends."""

    def __init__(self, store: Store, notifier: Notifier, sender: Sender) -> None:
        self._store = store
        self._notifier = notifier
        self._sender = sender

    def begin(self, event: BatchEvent, deliver: Deliver) -> None:
        """Begin a claimed notification, or leave it waiting. `deliver` gets the ids of those that are next."""
        if self._sender.stopping:
            return
        if found := self._sender.begin(_OfBatch(event.url, event, self._store, self._notifier), deliver):
            self._store.batch_events.postpone(event, found.seconds, found.why)


@dataclass(slots=True)
class _OfBatch:
    """A `Notification` of an event of a batch."""

    url: str
    event: BatchEvent
    store: Store
    notifier: Notifier

    @property
    def name(self) -> str:
        return f"batch {self.event.batch}: notification ({self.event.kind})"

    @property
    def owner(self) -> str:
        return owner_in(self.event.batch) or ""

    @property
    def about(self) -> Mapping[str, Any]:
        return {"batch": self.event.batch}

    @property
    def message_id(self) -> str:
        return self.event.message_id

    @property
    def caused_at(self) -> datetime | None:
        return self.event.at

    @property
    def claimed_at(self) -> datetime:
        return self.event.now

    @property
    def tries(self) -> int:
        return self.event.tries

    @property
    def error(self) -> str:
        return self.event.error

    def begin(self, receiver: str, limit: int, *, last_chance: bool) -> Turn:
        return self.store.batch_events.begin(self.event, receiver, limit, last_chance=last_chance)

    def post(self) -> int:
        return self.notifier.post(self.url, self.message_id, json.dumps(self._view(), ensure_ascii=False))

    def give_up(self, why: str) -> object:
        return self.store.batch_events.give_up(self.event, why)

    def end(self, turn: Turn, attempt: Attempt, **how: Any) -> list[str]:
        return self.store.batch_events.end(self.event, turn, attempt, **how)

    def _view(self) -> Mapping[str, Any]:
        """Return the body: the event, and the batch as it is now; null where it was deleted."""
        event = self.event
        view: Mapping[str, Any] | None = None
        try:
            view = serialize_batch(self.store.batches.get(event.batch))
        except (BatchNotFound, RecordDamaged) as error:
            log.warning("batch %s: its notification comes without it: %s", event.batch, error)
        more: dict[str, Any] = {"reason": event.why} if event.why else {}
        if event.kind == "saved":
            more["unsaved"] = [given_id(each) for each in self.store.batch_events.unsaved(event.batch)]
        return {"type": f"batch.{event.kind}", "timestamp": event.at.isoformat(), **more, "data": view}
