"""Back-pressure: whether the service accepts more jobs of a producer, and the answer when it is full for that one.

The scripts enforce the limits of unfinished jobs exactly. Memory is only checked now and then: its limit is far below
the point at which Redis refuses all writes, so that the results of accepted jobs still fit. Of both, a part is kept for
each key (jobs.room).
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from prometheus_client import Counter

from jobs.errors import StoreUnavailable
from jobs.key_limits import KeyLimits
from jobs.room import Room, left_by_others, parts
from jobs.store.memory import Memory
from jobs.store.statistics import Held
from webhook.http.problems import ProblemError
from webhook.settings import Settings

#: Seconds after which a producer may try again. Jobs take half a minute or longer, and a repeat costs little.
RETRY_AFTER = 30
#: How long a reading of the memory is used: seconds, or bytes of requests that this process has accepted since.
MAX_AGE = 1.0
MAX_AGE_BYTES = 8 * 1024 * 1024
#: How long the names of the keys are used, in seconds. A new key has no part of the room until then.
NAMES_AGE = 10.0


class Full(StrEnum):
    """What is full."""

    MEMORY = "memory"  #: for all
    STORED = "stored"  #: the key's `max_stored`
    MEMORY_KEPT = "memory kept"  #: what is left is kept for other keys
    JOBS = "jobs"  #: for all
    OWN_JOBS = "own jobs"  #: the key's `max_unfinished`
    JOBS_KEPT = "jobs kept"  #: what is left is kept for other keys


_LATER = "New ones are accepted when some have ended."
_DELETED = "New jobs are accepted when ended ones are deleted, or when the operator"
#: `{name}`: the key; `{limit}`: of jobs or bytes; `{unfinished}` and `{stored}`: what the key holds.
REASONS: Mapping[Full, str] = {
    Full.MEMORY: f"The job store has reached its memory limit (BOOMERANG_MAX_MEMORY). {_DELETED} adds memory.",
    Full.STORED: "The jobs and images of the key {name} use {stored:,} bytes; its limit is {limit:,} (max_stored in "
    f"BOOMERANG_KEY_LIMITS). {_DELETED} raises the limit.",
    Full.MEMORY_KEPT: "The memory that is left in the job store is kept for other keys (BOOMERANG_KEPT_ROOM): the jobs "
    f"and images of the key {{name}} use {{stored:,}} bytes, more than its part. {_DELETED} adds memory.",
    Full.JOBS: f"There are {{limit:,}} unfinished jobs, the limit (BOOMERANG_MAX_UNFINISHED). {_LATER}",
    Full.OWN_JOBS: "The key {name} has {unfinished:,} unfinished jobs; its limit is {limit:,} (max_unfinished in "
    f"BOOMERANG_KEY_LIMITS). {_LATER}",
    Full.JOBS_KEPT: "What is left of the room for {limit:,} unfinished jobs (BOOMERANG_MAX_UNFINISHED) is kept for "
    f"other keys (BOOMERANG_KEPT_ROOM): the key {{name}} has {{unfinished:,}}, more than its part. {_LATER}",
}
#: What the metric says.
_COUNTED = {Full.MEMORY: "memory", Full.JOBS: "jobs"}


@dataclass(frozen=True, slots=True)
class Usage:
    """What is in use: `memory` of Redis (None: unknown), and what owners hold."""

    memory: Memory | None = None
    held: Held = field(default_factory=lambda: Held({}, {}))


class Backpressure:
    """The limits of BOOMERANG_MAX_UNFINISHED and BOOMERANG_MAX_MEMORY, and of keys. `turned_away` counts refusals.

    `names`: of the producers' keys. `key_limits`: those in force.
    """

    def __init__(
        self,
        read_usage: Callable[[], Usage],
        settings: Settings,
        turned_away: Counter,
        *,
        names: Callable[[], Collection[str]] = tuple,
        key_limits: Callable[[], Mapping[str, KeyLimits]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_usage = read_usage
        self._settings = settings
        self._turned_away = turned_away
        self._read_names = names
        self._key_limits = key_limits
        self._clock = clock
        self._read_at: float | None = None
        self._named_at: float | None = None
        self._names: Collection[str] = ()
        self._accepted = 0
        self._usage = Usage()

    def room(self, size: int, owner: str = "") -> Room:
        """Return the limits of unfinished jobs for a request of `size` bytes. Raises `StoreUnavailable`."""
        if self.full(size, owner):
            return Room(owner=owner, most=0)
        most = self._settings.max_unfinished or None
        kept = self._parts(most) if most else {}
        return Room(owner=owner, most=most, own=self._limits(owner).max_unfinished, kept=kept)

    def full(self, size: int, owner: str = "") -> Full | None:
        """Return why there is no memory for a request of `size` bytes; None: there is. Raises `StoreUnavailable`."""
        most = self._limits(owner).max_stored
        if not self._settings.max_memory and most is None:
            return None
        self._refresh(size)
        limit, memory, stored = self._memory_limit(), self._usage.memory, self._usage.held.stored
        watched = memory is not None and bool(limit)
        if watched and memory and memory.used >= limit:
            return Full.MEMORY
        if most is not None and stored.get(owner, 0) >= most:
            return Full.STORED
        if watched and memory:
            kept = self._parts(limit)
            others = left_by_others(kept, stored, owner)
            if memory.used >= limit - others and stored.get(owner, 0) >= kept.get(owner, 0):
                return Full.MEMORY_KEPT
        return None

    def refused(
        self, result: str = "Nothing was enqueued. Send the same again later.", *, owner: str = "", **more: Any
    ) -> ProblemError:
        """Return the problem, 429, of a service that is full for an owner. `result` says what was done."""
        why = self.full(0, owner) or self._jobs_full(owner)
        self._turned_away.labels(_COUNTED.get(why, "key")).inc()
        return ProblemError(
            429, f"{self._reason(why, owner)} {result}", headers={"Retry-After": str(RETRY_AFTER)}, **more
        )

    def why_full(self, size: int, owner: str) -> str | None:
        """Return why jobs of `size` bytes more would not fit now; None: they would, as far as is known."""
        why, most = self.full(0, owner), self._limits(owner).max_stored
        if why is None and most is not None and self._usage.held.stored.get(owner, 0) + size > most:
            why = Full.STORED
        return self._reason(why, owner) if why else None

    def warning(self, unfinished: int) -> str | None:
        """Return why the service is full for all, or what keeps a limit from working; None if all is well."""
        if self.full(0) is Full.MEMORY:
            return self._reason(Full.MEMORY)
        most = self._settings.max_unfinished
        if most and unfinished >= most:
            return self._reason(Full.JOBS)
        if self._settings.max_memory and self._usage.memory is None:
            return "memory is not checked: BOOMERANG_MAX_MEMORY needs a Redis user that may call INFO"
        return None

    def _jobs_full(self, owner: str) -> Full:
        self._usage = self._read_usage()
        held, own = self._usage.held.unfinished, self._limits(owner).max_unfinished
        if own is not None and held.get(owner, 0) >= own:
            return Full.OWN_JOBS
        kept = self._parts(self._settings.max_unfinished)
        return Full.JOBS_KEPT if left_by_others(kept, held, owner) else Full.JOBS

    def _limits(self, owner: str) -> KeyLimits:
        return self._key_limits().get(owner, KeyLimits())

    def _parts(self, room: float) -> dict[str, int]:
        """Return the part of all room that is kept for each key. A single key shares with nobody."""
        now = self._clock()
        if self._named_at is None or now - self._named_at >= NAMES_AGE:
            self._named_at = now
            # Without the names, nothing is kept for a key that is new. That is no reason to refuse a job.
            with suppress(StoreUnavailable):
                self._names = self._read_names()
        if len(self._names) <= 1:
            return {}
        return parts(room, self._settings.kept_room, self._names, self._key_limits())

    def _refresh(self, size: int) -> None:
        self._accepted += size
        now = self._clock()
        # Two threads may read at once, which does no harm.
        if self._read_at is None or now - self._read_at >= MAX_AGE or self._accepted >= MAX_AGE_BYTES:
            self._usage = self._read_usage()
            self._read_at, self._accepted = now, size

    def _memory_limit(self) -> float:
        """Return the limit in bytes, 0 for none."""
        most = self._settings.max_memory
        if most > 1:
            return most
        return most * self._usage.memory.limit if self._usage.memory else 0

    def _reason(self, why: Full, owner: str = "") -> str:
        limits, held = self._limits(owner), self._usage.held
        limit = {Full.STORED: limits.max_stored, Full.OWN_JOBS: limits.max_unfinished}.get(
            why, self._settings.max_unfinished
        )
        return REASONS[why].format(
            name=owner, limit=limit, unfinished=held.unfinished.get(owner, 0), stored=held.stored.get(owner, 0)
        )
