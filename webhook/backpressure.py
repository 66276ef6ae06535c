"""Back-pressure: whether the service accepts more jobs, and the answer to a producer when it is full.

The scripts enforce the limit of unfinished jobs exactly. Memory is only checked now and then: its limit is far below
the point at which Redis refuses all writes, so that the results of accepted jobs still fit.
"""

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter

from jobs.store.memory import Memory
from webhook.http.problems import ProblemError
from webhook.settings import Settings

#: Seconds after which a producer may try again. Jobs take half a minute or longer, and a repeat costs little.
RETRY_AFTER = 30
#: How long a reading of the memory is used: seconds, or bytes of requests that this process has accepted since.
MAX_AGE = 1.0
MAX_AGE_BYTES = 8 * 1024 * 1024


class Backpressure:
    """The limits of BOOMERANG_MAX_UNFINISHED and BOOMERANG_MAX_MEMORY. `turned_away` counts refused requests."""

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
        self._read_at: float | None = None
        self._accepted = 0
        self._memory: Memory | None = None

    def limit(self, size: int) -> int | None:
        """Return the limit of unfinished jobs for a request of `size` bytes: None for no limit, 0 for no new job.

        Raises `StoreUnavailable`.
        """
        if self._full(size):
            return 0
        return self._settings.max_unfinished or None

    def refused(self, result: str = "Nothing was enqueued. Send the same again later.", **more: Any) -> ProblemError:
        """Return the problem, 429, of a full service. `result` says what was done, and what to do."""
        full = self._full(0)
        self._turned_away.labels("memory" if full else "jobs").inc()
        return ProblemError(
            429, f"{self._reason(full=full)} {result}", headers={"Retry-After": str(RETRY_AFTER)}, **more
        )

    def warning(self, unfinished: int) -> str | None:
        """Return why the service is full, or what keeps a limit from working; None if all is well."""
        full = self._full(0)
        most = self._settings.max_unfinished
        if full or (most and unfinished >= most):
            return self._reason(full=full)
        if self._settings.max_memory and self._memory is None:
            return "memory is not checked: BOOMERANG_MAX_MEMORY needs a Redis user that may call INFO"
        return None

    def _full(self, size: int) -> bool:
        if not self._settings.max_memory:
            return False
        self._accepted += size
        now = self._clock()
        # Two threads may read at once, which does no harm.
        if self._read_at is None or now - self._read_at >= MAX_AGE or self._accepted >= MAX_AGE_BYTES:
            self._memory = self._read_memory()
            self._read_at, self._accepted = now, size
        limit = self._memory_limit()
        return self._memory is not None and bool(limit) and self._memory.used >= limit

    def _memory_limit(self) -> float:
        """Return the limit in bytes, 0 for none."""
        most = self._settings.max_memory
        if most > 1:
            return most
        return most * self._memory.limit if self._memory else 0

    def _reason(self, *, full: bool) -> str:
        if full:
            return (
                "The job store has reached its memory limit (BOOMERANG_MAX_MEMORY). "
                "New jobs are accepted when ended ones are deleted, or when the operator adds memory."
            )
        return (
            f"There are {self._settings.max_unfinished:,} unfinished jobs, the limit (BOOMERANG_MAX_UNFINISHED). "
            "New ones are accepted when some have ended."
        )
