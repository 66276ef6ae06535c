"""Detection of lost jobs: before each round a worker compares Redis with what was last seen, and stops after a loss."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps

from jobs.errors import RECOVER, StoreUnavailable
from jobs.store.installation import Judgement, Sighting, Standing, Verdict, judge
from jobs.store.store import Store
from jobs.store.witness import Witness

log = logging.getLogger(__name__)

#: Least number of seconds between two writes to the witness.
NOTE_INTERVAL = 1.0
#: Seconds after which an unchanged sighting is written again, in case the broker has lost it.
NOTE_REPEAT = 60.0
#: Most comparisons per call. They are repeated if another process changes the record meanwhile.
MAX_COMPARISONS = 3


class Continuity:
    """Decides whether work may go on; one per process. `clock` is monotonic, in seconds."""

    def __init__(
        self, store: Store, witness: Witness | None, *, tolerated: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._witness = witness
        self._tolerated = tolerated
        self._clock = clock
        self._one_at_a_time = threading.Lock()
        self._seen: Sighting | None = None
        self._witness_read = witness is None
        self._noted: Sighting | None = None
        self._note_after = self._note_again = clock()
        self._last_reason = ""

    def __call__(self) -> bool:
        """Return whether work may go on. Raises `StoreUnavailable`."""
        with self._one_at_a_time:
            for _ in range(MAX_COMPARISONS):
                standing = self._store.continuity.standing(seen := self._sightings())
                sound = self._decide(standing, judge(standing, seen))
                if sound is not None:
                    return sound
            return False

    def _sightings(self) -> list[Sighting]:
        """Return what this process saw last and, at first, what the witness has from all processes."""
        seen = [self._seen] if self._seen else []
        if self._witness is None or self._witness_read:
            return seen
        try:
            seen += self._witness.read()
        except StoreUnavailable as error:
            log.warning(
                "the witness (BOOMERANG_BROKER_URL) cannot be read; until it can, lost jobs may go unnoticed: %s", error
            )
            return seen
        self._witness_read = True
        return seen

    def _decide(self, standing: Standing, verdict: Verdict) -> bool | None:
        """Return whether work may go on. None: the record has changed, compare again."""
        if standing.lost:
            return self._stop(standing.lost)
        if verdict.judgement is Judgement.LOST or self._exceeds_tolerance(verdict):
            refused = self._store.continuity.refuse(standing, verdict.reason, verdict.expected)
            return self._stop(verdict.reason) if refused else None
        if verdict.judgement is Judgement.OLDER and verdict.expected:
            if self._store.continuity.tolerate(standing, verdict.expected):
                log.warning("%s; work continues, but every job is looked up at the provider first", verdict.reason)
            return None
        if not standing.installation and not self._witness_read:
            return False  # Redis may have lost everything: only the witness can tell.
        if not standing.installation or standing.restarted:
            if self._store.continuity.establish(standing) and not standing.installation:
                self._log_beginning(standing)
            return None
        self._remember(standing.sighting)
        return True

    def _log_beginning(self, standing: Standing) -> None:
        """Log that an installation begins: as a warning if a Redis that lost its jobs would look the same."""
        if standing.has_jobs:
            log.warning("a new installation begins with the jobs that Redis holds: it has no record of an installation")
        elif self._witness is None:
            log.warning(
                "a new installation begins: Redis (BOOMERANG_REDIS_URL) is empty. If it held jobs before, they are "
                "lost: without a Redis of its own, the broker cannot tell"
            )
        else:
            log.info("a new installation begins: Redis is empty, and the witness (BOOMERANG_BROKER_URL) knows no other")

    def _exceeds_tolerance(self, verdict: Verdict) -> bool:
        return verdict.judgement is Judgement.OLDER and verdict.lost_jobs > 0 and verdict.seconds > self._tolerated

    def _remember(self, sighting: Sighting) -> None:
        self._last_reason, self._seen = "", sighting
        if self._witness is None or not self._witness_read or self._clock() < self._note_after:
            return  # Do not overwrite the witness before it was read.
        if self._noted and _same(self._noted, sighting) and self._clock() < self._note_again:
            return
        self._note_after, self._note_again = self._clock() + NOTE_INTERVAL, self._clock() + NOTE_REPEAT
        try:
            self._witness.write(sighting)
        except StoreUnavailable as error:
            log.warning("the witness (BOOMERANG_BROKER_URL) cannot be written: %s", error)
            return
        self._noted = sighting

    def _stop(self, reason: str) -> bool:
        if reason != self._last_reason:
            log.error("%s. No work is accepted or handed out until an operator runs `%s`", reason, RECOVER)
        self._last_reason = reason
        return False


def compare_step(continuity: Callable[[], Continuity]) -> type:
    """Return a bootstep that compares when the worker starts, before beat sends the first reconcile."""

    class Compare(bootsteps.StartStopStep):
        def start(self, _parent: Any) -> None:
            try:
                continuity()()
            except StoreUnavailable as error:
                log.warning("the jobs' Redis does not answer; it is checked for lost jobs later: %s", error)

    return Compare


def _same(one: Sighting, other: Sighting) -> bool:
    return (one.epoch, one.accepted, one.last) == (other.epoch, other.accepted, other.last)
