"""Send notifications as far as places and circuit breakers allow (jobs/receivers.py), in threads of their own.

Nothing here waits for a receiver but those threads: a task that begins notifications ends at once.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from jobs import logs
from jobs.delivery_log import Attempt, address_without_secrets
from jobs.jitter import Random, draw
from jobs.policy import MOST_DELIVERIES, next_delivery
from jobs.receivers import BeginOutcome, Turn, receiver_of
from worker.errors import NotifyFailed

log = logging.getLogger(__name__)

#: For so long after its cause, a notification is postponed while the breaker of its receiver is open. Then it is given
#: up; one that was never sent is sent once before.
LONGEST_POSTPONED = timedelta(days=1)
#: Waiting notifications that begin when one ends: more than one, so that places of killed workers are used again.
BEGIN = 2

#: Seconds for which an open breaker is not asked about again for its other notifications, of which there may be
#: thousands. A receiver that is enabled by hand is used again after so long.
REMEMBERED = 5.0
#: Receivers that are remembered.
_MOST_REMEMBERED = 1_000

_EARLIER = "earlier notifications to this host failed"

#: Gets the ids of notifications that are next.
Deliver = Callable[[Sequence[str]], None]


class Notification(Protocol):
    """A claimed notification: of a job's end, or of a batch's event.

    `name` and `about` are for log lines. `caused_at`: when the job ended or the event happened. `claimed_at`: now, by
    the clock of Redis. `tries`: failed attempts so far; `error`: why the last one failed.
    """

    url: str

    @property
    def name(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def about(self) -> Mapping[str, Any]: ...
    @property
    def message_id(self) -> str: ...
    @property
    def caused_at(self) -> datetime | None: ...
    @property
    def claimed_at(self) -> datetime: ...
    @property
    def tries(self) -> int: ...
    @property
    def error(self) -> str: ...

    def begin(self, receiver: str, limit: int, *, last_chance: bool) -> Turn:
        """Ask for one of `limit` places."""

    def post(self) -> int:
        """Send it and return the status, a 2xx. Raises `NotifyFailed`."""

    def give_up(self, why: str) -> object:
        """Record that it is not repeated."""

    def end(self, turn: Turn, attempt: Attempt, **how: Any) -> list[str]:
        """Record an attempt. Returns the ids of those that have a place now."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """A notification that is to be attempted in so many `seconds`, because its receiver's breaker is open (`why`)."""

    seconds: float
    why: str


class Sender:
    """Sends notifications. `limit`: most under way at once, of all workers. `stopping`: once set, it begins no more.

    `disable_after`: seconds of failures after which a receiver is disabled; 0: never.
    """

    def __init__(
        self,
        executor: Executor,
        limit: int,
        stopping: threading.Event,
        *,
        disable_after: float = 0.0,
        random: Random = draw,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor = executor
        self._limit = limit
        self._stopping = stopping
        self._disable_after = disable_after
        self._random = random
        self._clock = clock
        #: (owner, receiver) → (until when it is remembered, until when its breaker is open), by the clock of Redis
        self._open: dict[tuple[str, str], tuple[datetime, datetime]] = {}

    @property
    def stopping(self) -> bool:
        """Whether it begins no more. The alarm of a notification then makes another worker send it."""
        return self._stopping.is_set()

    def begin(self, owed: Notification, deliver: Deliver) -> Postponed | None:
        """Begin a notification, or leave it waiting. `deliver` gets the ids of those that are next.

        The caller records a notification that is postponed: there may be thousands, and one round trip suffices.
        """
        receiver = receiver_of(owed.url)
        old = owed.caused_at is not None and owed.claimed_at - owed.caused_at > LONGEST_POSTPONED
        if not old and (pause := self._known_pause(owed, receiver)) is not None:
            return self._postponed(owed, pause)
        turn = owed.begin(receiver, self._limit, last_chance=old and owed.tries == 0)
        if turn.outcome is BeginOutcome.GRANTED:
            self._executor.submit(self._send, owed, turn, deliver)
        elif turn.outcome is BeginOutcome.DISABLED:
            _give_up(owed, f"its receiver {receiver} is disabled, because it failed for too long")
        elif turn.outcome is BeginOutcome.OPEN:
            if old:
                _give_up(owed, owed.error or _EARLIER)
            else:
                self._remember(owed, receiver, turn.pause)
                return self._postponed(owed, turn.pause)
        return None

    def _postponed(self, owed: Notification, pause: float) -> Postponed:
        # Spread, so that they do not all come when the breaker lets one through.
        return Postponed(pause * (1 + self._random() / 2), owed.error or _EARLIER)

    def _remember(self, owed: Notification, receiver: str, pause: float) -> None:
        if len(self._open) >= _MOST_REMEMBERED:
            self._open.clear()
        begin = owed.claimed_at
        until = begin + timedelta(seconds=min(pause, REMEMBERED)), begin + timedelta(seconds=pause)
        self._open[owed.owner, receiver] = until

    def _known_pause(self, owed: Notification, receiver: str) -> float | None:
        """Return the seconds for which the receiver's breaker is known to stay open; None: ask."""
        remembered, opened = self._open.get((owed.owner, receiver), (None, None))
        if remembered is None or opened is None or owed.claimed_at >= remembered:
            return None
        return (opened - owed.claimed_at).total_seconds()

    def _send(self, owed: Notification, turn: Turn, deliver: Deliver) -> None:
        with logs.about(**owed.about):
            try:
                attempt = self._attempt(owed)
                wait = next_try(owed.name, owed.tries, attempt.error, self._random()) if attempt.error else None
                if wait is not None:
                    attempt = replace(attempt, next_at=attempt.at + timedelta(seconds=attempt.took + wait))
                started = owed.end(
                    turn,
                    attempt,
                    limit=self._limit,
                    random=self._random(),
                    retry_in=wait,
                    begin=0 if self.stopping else BEGIN,
                    disable_after=self._disable_after,
                )
                if started:
                    deliver(started)
            except Exception:
                # There is no caller to raise to. Alarms and leases replace what was not recorded.
                log.exception("%s: its result was not recorded", owed.name)

    def _attempt(self, owed: Notification) -> Attempt:
        """Send it. Returns the attempt for the log."""
        begin, why = self._clock(), ""
        status: int | None = None
        try:
            status = owed.post()
        except NotifyFailed as error:
            why, status = str(error), error.status
        except Exception as error:
            # Of any kind: it must neither stop other deliveries nor be repeated forever.
            log.exception("%s failed with an unexpected error", owed.name)
            why = type(error).__name__
        return Attempt(
            id=owed.message_id,
            at=owed.claimed_at,
            address=address_without_secrets(owed.url),
            status=status,
            took=self._clock() - begin,
            error=why,
        )


def _give_up(owed: Notification, why: str) -> None:
    log.error("%s given up: %s", owed.name, why)
    owed.give_up(why)


def next_try(name: str, tries: int, why: str, random: float) -> float | None:
    """Return the seconds until a failed delivery is repeated; None: it is given up. Logs both."""
    wait = next_delivery(tries, random)
    if wait is None:
        log.error("%s given up after %d attempts: %s", name, MOST_DELIVERIES, why)
    else:
        log.warning("%s failed, repeated in %.0f s: %s", name, wait, why)
    return wait
