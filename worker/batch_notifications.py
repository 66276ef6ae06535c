"""Notifications of batches' events. They share places, circuit breakers and threads with those of jobs."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobs import logs
from jobs.delivery_log import Attempt, address_without_secrets
from jobs.errors import BatchNotFound, RecordDamaged
from jobs.jitter import Random, draw
from jobs.policy import MOST_DELIVERIES, next_delivery
from jobs.producer_ids import given_id
from jobs.receivers import BeginOutcome, Turn, receiver_of
from jobs.serializers import serialize_batch
from jobs.store.batch_events import BatchEvent
from jobs.store.store import Store
from worker.errors import NotifyFailed
from worker.notification import Notifier
from worker.notifications import BEGIN, LONGEST_POSTPONED

log = logging.getLogger(__name__)

#: Gets the ids of notifications that are next.
Deliver = Callable[[Sequence[str]], None]


class BatchNotifications:
    """Notifications of events of batches. The parameters are those of `Notifications`."""

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        executor: Executor,
        limit: int,
        stopping: threading.Event,
        *,
        disable_after: float = 0.0,
        random: Random = draw,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._executor = executor
        self._limit = limit
        self._stopping = stopping
        self._disable_after = disable_after
        self._random = random
        self._clock = clock

    def begin(self, event: BatchEvent, deliver: Deliver) -> None:
        """Begin a claimed notification, or leave it waiting."""
        if self._stopping.is_set():
            return  # its alarm lets another worker send it
        events, receiver = self._store.batch_events, receiver_of(event.url)
        old = event.now - event.at > LONGEST_POSTPONED
        turn = events.begin(event, receiver, self._limit, last_chance=old and event.tries == 0)
        if turn.outcome is BeginOutcome.GRANTED:
            self._executor.submit(self._send, event, turn, deliver)
        elif turn.outcome is BeginOutcome.DISABLED:
            self._give_up(event, f"its receiver {receiver} is disabled, because it failed for too long")
        elif turn.outcome is BeginOutcome.OPEN:
            why = event.error or "earlier notifications to this host failed"
            if old:
                self._give_up(event, why)
            else:
                events.postpone(event, turn.pause * (1 + self._random() / 2), why)

    def _give_up(self, event: BatchEvent, why: str) -> None:
        log.error("batch %s: notification (%s) given up: %s", event.batch, event.kind, why)
        self._store.batch_events.give_up(event, why)

    def _send(self, event: BatchEvent, turn: Turn, deliver: Deliver) -> None:
        with logs.about(batch=event.batch):
            try:
                attempt = self._attempt(event)
                wait = self._next_try(event, attempt.error) if attempt.error else None
                if wait is not None:
                    attempt = replace(attempt, next_at=attempt.at + timedelta(seconds=attempt.took + wait))
                started = self._store.batch_events.end(
                    event,
                    turn,
                    attempt,
                    limit=self._limit,
                    random=self._random(),
                    retry_in=wait,
                    begin=0 if self._stopping.is_set() else BEGIN,
                    disable_after=self._disable_after,
                )
                if started:
                    deliver(started)
            except Exception:
                # There is no caller to raise to. Alarms and leases replace what was not recorded.
                log.exception("batch %s: the result of its notification was not recorded", event.batch)

    def _attempt(self, event: BatchEvent) -> Attempt:
        begin, why = self._clock(), ""
        status: int | None = None
        try:
            body = json.dumps(self._view(event), ensure_ascii=False)
            status = self._notifier.post(event.url, event.message_id, body)
        except NotifyFailed as error:
            why, status = str(error), error.status
        except Exception as error:
            # Of any kind: it must neither stop other deliveries nor be repeated forever.
            log.exception("batch %s: its notification failed with an unexpected error", event.batch)
            why = type(error).__name__
        address, took = address_without_secrets(event.url), self._clock() - begin
        return Attempt(id=event.message_id, at=event.now, address=address, status=status, took=took, error=why)

    def _view(self, event: BatchEvent) -> Mapping[str, Any]:
        """Return the body: the event, and the batch as it is now; null where it was deleted."""
        view: Mapping[str, Any] | None = None
        try:
            view = serialize_batch(self._store.batches.get(event.batch))
        except (BatchNotFound, RecordDamaged) as error:
            log.warning("batch %s: its notification comes without it: %s", event.batch, error)
        more: dict[str, Any] = {"reason": event.why} if event.why else {}
        if event.kind == "saved":
            more["unsaved"] = [given_id(each) for each in self._store.batch_events.unsaved(event.batch)]
        return {"type": f"batch.{event.kind}", "timestamp": event.at.isoformat(), **more, "data": view}

    def _next_try(self, event: BatchEvent, why: str) -> float | None:
        wait = next_delivery(event.tries, self._random())
        if wait is None:
            log.error(
                "batch %s: notification (%s) given up after %d attempts: %s",
                event.batch,
                event.kind,
                MOST_DELIVERIES,
                why,
            )
        else:
            log.warning(
                "batch %s: notification (%s) failed, repeated in %.0f s: %s", event.batch, event.kind, wait, why
            )
        return wait
