"""Send notifications as far as places and circuit breakers allow (jobs/receivers.py), in threads of their own.

Nothing here waits for a receiver but those threads: a task that begins notifications ends at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta

from jobs import logs
from jobs.claims import Due
from jobs.decoding import UNREADABLE
from jobs.delivery_log import Attempt, address_without_secrets
from jobs.jitter import Random, draw
from jobs.job import Delivery
from jobs.policy import MOST_DELIVERIES, next_delivery
from jobs.receivers import BeginOutcome, Turn, receiver_of
from jobs.store.store import Store
from schemas import GenerationRequest
from worker.errors import NotifyFailed
from worker.notification import Notifier

log = logging.getLogger(__name__)

#: For so long after the end of its job, a notification is postponed while the breaker of its receiver is open. Then it
#: is given up; one that was never sent is sent once before.
LONGEST_POSTPONED = timedelta(days=1)
#: Waiting notifications that begin when one ends: more than one, so that places of killed workers are used again.
BEGIN = 2


class Notifications:
    """Notifications of ended jobs. `limit`: most under way at once, of all workers. `stopping`: begin no more.

    `disable_after`: seconds of failures after which a receiver is disabled; 0: never.
    """

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
        self._disable_after = disable_after
        self._clock = clock
        self._notifier = notifier
        self._executor = executor
        self._limit = limit
        self._stopping = stopping
        self._random = random

    def begin(self, due: Due, deliver: Callable[[Sequence[str]], None]) -> None:
        """Begin a claimed notification, or leave it waiting. `deliver` gets the ids of jobs that are next."""
        if self._stopping.is_set():
            return  # its alarm lets another worker send it
        text = self._store.jobs.get_text(due.job.id)
        try:
            request = GenerationRequest.from_text(text) if text else None
            url = request.callback_url if request else None
            receiver = receiver_of(url) if url else ""
        except UNREADABLE as error:
            log.exception("job %s: its callback_url cannot be read", due.job.id)
            retry_later(self._store, due, Delivery.NOTIFY, type(error).__name__, self._random())
            return
        if request is None or not receiver:
            self._store.deliveries.record(due, Delivery.NOTIFY)
            return
        old = due.job.ended_at is not None and due.now - due.job.ended_at > LONGEST_POSTPONED
        never_sent = due.job.delivery_tries == 0
        turn = self._store.deliveries.begin_notification(due, receiver, self._limit, last_chance=old and never_sent)
        if turn.outcome is BeginOutcome.GRANTED:
            self._executor.submit(self._send, due, turn, request, deliver)
        elif turn.outcome is BeginOutcome.DISABLED:
            why = f"its receiver {receiver} is disabled, because it failed for too long"
            log.error("job %s: delivery (notify) given up: %s", due.job.id, why)
            self._store.deliveries.give_up(due, Delivery.NOTIFY, why)
        elif turn.outcome is BeginOutcome.OPEN:
            why = due.job.delivery_error or "earlier notifications to this host failed"
            if old:
                log.error("job %s: delivery (notify) given up: %s", due.job.id, why)
                self._store.deliveries.give_up(due, Delivery.NOTIFY, why)
            else:
                # Spread, so that they do not all come when the breaker lets one through.
                self._store.deliveries.postpone(due, Delivery.NOTIFY, turn.pause * (1 + self._random() / 2), why)

    def _send(self, due: Due, turn: Turn, request: GenerationRequest, deliver: Callable[[Sequence[str]], None]) -> None:
        with logs.about(job=due.job.id, attempt=due.job.attempt, lane=due.job.lane):
            try:
                attempt = self._attempt(due, request)
                why = attempt.error
                wait = next_try(due, Delivery.NOTIFY, why, self._random()) if why else None
                if wait is not None:
                    attempt = replace(attempt, next_at=attempt.at + timedelta(seconds=attempt.took + wait))
                begin = 0 if self._stopping.is_set() else BEGIN
                started = self._store.deliveries.end_notification(
                    due,
                    turn,
                    limit=self._limit,
                    random=self._random(),
                    retry_in=wait,
                    why=why,
                    begin=begin,
                    attempt=attempt,
                    disable_after=self._disable_after,
                )
                if started:
                    deliver(started)
            except Exception:
                # There is no caller to raise to. Alarms and leases replace what was not recorded.
                log.exception("job %s: the result of its notification was not recorded", due.job.id)

    def _attempt(self, due: Due, request: GenerationRequest) -> Attempt:
        """Send it. Returns the attempt for the log."""
        url, begin, why = request.callback_url or "", self._clock(), ""
        status: int | None = None
        try:
            status = self._notifier(due.job, url, request.callback_form)
        except NotifyFailed as error:
            why, status = str(error), error.status
        except Exception as error:
            # Of any kind: it must neither stop other deliveries nor be repeated forever.
            log.exception("job %s: its notification failed with an unexpected error", due.job.id)
            why = type(error).__name__
        return Attempt(
            id=Notifier.message_id(due.job),
            at=due.now,
            address=address_without_secrets(url),
            status=status,
            took=self._clock() - begin,
            error=why,
        )


def next_try(due: Due, kind: Delivery, why: str, random: float) -> float | None:
    """Return the seconds until a failed delivery is repeated; None: it is given up. Logs both."""
    wait, name = next_delivery(due.job.tries(kind), random), kind.name.lower()
    if wait is None:
        log.error("job %s: delivery (%s) given up after %d attempts: %s", due.job.id, name, MOST_DELIVERIES, why)
        return None
    log.warning("job %s: delivery (%s) failed, repeated in %.0f s: %s", due.job.id, name, wait, why)
    return wait


def retry_later(store: Store, due: Due, kind: Delivery, why: str, random: float) -> None:
    """Record that a delivery failed: repeat it, or give it up. `boomerang-server stuck` lists given-up ones."""
    wait = next_try(due, kind, why, random)
    if wait is None:
        store.deliveries.give_up(due, kind, why)
    else:
        store.deliveries.record(due, kind, retry_in=wait, why=why)
