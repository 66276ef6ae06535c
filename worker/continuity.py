"""Before each round a worker compares what Redis holds with what was seen of it: where jobs are lost, work stops."""

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

#: Seconds between two notes for the witness, at least.
NOTES_APART = 1.0
#: Seconds after which the same is noted again: the broker may have lost it.
NOTE_AGAIN = 60.0
#: Comparisons in one call, at most: another process may change the record between a look and the decision.
TRIES = 3


class Continuity:
    """One a process. `clock` is monotonic, in seconds. Raises `StoreUnavailable` where the jobs' Redis is away."""

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
        self._told = ""

    def __call__(self) -> bool:
        """Whether work may go on with what Redis holds."""
        with self._one_at_a_time:
            for _ in range(TRIES):
                there = self._store.continuity.standing(seen := self._sightings())
                sound = self._decide(there, judge(there, seen))
                if sound is not None:
                    return sound
            return False

    def _sightings(self) -> list[Sighting]:
        """What this process saw last, and at its first look what all saw."""
        seen = [self._seen] if self._seen else []
        if self._witness is None or self._witness_read:
            return seen
        try:
            seen += self._witness.read()
        except StoreUnavailable as error:
            log.warning("the witness (BOOMERANG_BROKER_URL) cannot be read, lost jobs may go unnoticed: %s", error)
            return seen
        self._witness_read = True
        return seen

    def _decide(self, there: Standing, verdict: Verdict) -> bool | None:
        """Whether work may go on; None: look again, for the record has changed."""
        if there.lost:
            return self._stop(there.lost)
        if verdict.judgement is Judgement.LOST or self._is_too_much(verdict):
            refused = self._store.continuity.refuse(there, verdict.reason, verdict.expected)
            return self._stop(verdict.reason) if refused else None
        if verdict.judgement is Judgement.OLDER and verdict.expected:
            if self._store.continuity.tolerate(there, verdict.expected):
                log.warning("%s; work goes on, every job is looked up at the provider first", verdict.reason)
            return None
        if not there.installation and not self._witness_read:
            return False  # it may have lost everything: the witness would know
        if not there.installation or there.restarted:
            if self._store.continuity.establish(there) and not there.installation:
                log.warning("a new installation begins: Redis holds no record of one, and no worker has seen any")
            return None
        self._remember(there.sighting)
        return True

    def _is_too_much(self, verdict: Verdict) -> bool:
        return verdict.judgement is Judgement.OLDER and verdict.lost_jobs > 0 and verdict.seconds > self._tolerated

    def _remember(self, sighting: Sighting) -> None:
        self._told, self._seen = "", sighting
        if self._witness is None or not self._witness_read or self._clock() < self._note_after:
            return  # what it says is not written over before it was read
        if self._noted and _same(self._noted, sighting) and self._clock() < self._note_again:
            return
        self._note_after, self._note_again = self._clock() + NOTES_APART, self._clock() + NOTE_AGAIN
        try:
            self._witness.write(sighting)
        except StoreUnavailable as error:
            log.warning("the witness (BOOMERANG_BROKER_URL) cannot be written: %s", error)
            return
        self._noted = sighting

    def _stop(self, reason: str) -> bool:
        if reason != self._told:
            log.error("%s. No work is taken in or handed out until an operator runs `%s`", reason, RECOVER)
        self._told = reason
        return False


def compare_step(continuity: Callable[[], Continuity]) -> type:
    """A step of a worker's start: compare at once, and not only when beat asks for the first round."""

    class Compare(bootsteps.StartStopStep):
        def start(self, _parent: Any) -> None:
            try:
                continuity()()
            except StoreUnavailable as error:
                log.warning("the jobs' Redis is compared once it answers: %s", error)

    return Compare


def _same(one: Sighting, other: Sighting) -> bool:
    return (one.epoch, one.accepted, one.last) == (other.epoch, other.accepted, other.last)
