"""Back-pressure: whether more jobs are taken in, and how a producer is asked to come back when they are not.

The number of unfinished jobs is held to its limit by the scripts, exactly. Memory is only looked at now and then: its
limit stands well below where Redis refuses everything, the results of jobs under way included.
"""

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter

from jobs.store.memory import Memory
from webhook.http.problems import ProblemError
from webhook.settings import Settings

#: Seconds after which a producer may find room. Jobs take half a minute and longer; a repeat costs little.
RETRY_AFTER = 30
#: A look at the memory is good for so long (seconds), or for so many bytes taken in by this process.
GOOD_FOR = 1.0
GOOD_FOR_BYTES = 8 * 1024 * 1024


class Backpressure:
    """`turned_away` counts the requests that were refused, by reason."""

    def __init__(
        self,
        read_memory: Callable[[], Memory | None],
        settings: Settings,
        turned_away: Counter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_memory = read_memory
        self._settings = settings
        self._turned_away = turned_away
        self._clock = clock
        self._looked: float | None = None
        self._taken = 0
        self._memory: Memory | None = None

    def limit(self, size: int) -> int | None:
        """Most unfinished jobs there may be once `size` more bytes of requests are taken in (for `Jobs.enqueue`).

        None: any number; 0: no new one. Raises `StoreUnavailable`.
        """
        if self._full(size):
            return 0
        return self._settings.max_unfinished or None

    def refused(self, done: str = "Nothing was enqueued. Send the same again later.", **more: Any) -> ProblemError:
        """429, for a request of which something found no room; `done` says what became of it, and what to do."""
        full = self._full(0)
        self._turned_away.labels("memory" if full else "jobs").inc()
        return ProblemError(429, f"{self._why(full=full)} {done}", headers={"Retry-After": str(RETRY_AFTER)}, **more)

    def note(self, unfinished: int) -> str | None:
        """What is to be said of it now: None while there is room. `unfinished`: jobs at present."""
        full = self._full(0)
        most = self._settings.max_unfinished
        if full or (most and unfinished >= most):
            return self._why(full=full)
        if self._settings.max_memory and self._memory is None:
            return "memory not watched: Redis allows its user no INFO, which BOOMERANG_MAX_MEMORY needs"
        return None

    def _full(self, size: int) -> bool:
        if not self._settings.max_memory:
            return False
        self._taken += size
        now = self._clock()
        # Two threads may look at once; that costs nothing but the look.
        if self._looked is None or now - self._looked >= GOOD_FOR or self._taken >= GOOD_FOR_BYTES:
            self._memory = self._read_memory()
            self._looked, self._taken = now, size
        most = self._most_memory()
        return self._memory is not None and bool(most) and self._memory.used >= most

    def _most_memory(self) -> float:
        """Bytes; 0: no limit."""
        most = self._settings.max_memory
        if most > 1:
            return most
        return most * self._memory.limit if self._memory else 0

    def _why(self, *, full: bool) -> str:
        if full:
            return (
                "The job store has used the memory that it may use (BOOMERANG_MAX_MEMORY); "
                "room comes as ended jobs are forgotten, or from whoever runs the service."
            )
        return (
            f"There are {self._settings.max_unfinished:,} unfinished jobs, and no more are taken in before some end "
            "(BOOMERANG_MAX_UNFINISHED)."
        )
