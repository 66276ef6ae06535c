"""Watch whether a local stack works, and report when it stalls and when it works again.

The supervisor sees processes that end. It does not see one that is stopped or hangs, or that has lost its connections.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jobs.connections.client import connect
from jobs.errors import RecordDamaged, StoreUnavailable
from jobs.liveness import STALLED_AFTER, Trouble, TroubleCode
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local.supervisor import Report

#: Seconds between two looks.
INTERVAL = 1.0
#: Seconds for which a trouble, or its absence, must last before it is reported.
CONFIRMED_AFTER = 3.0
#: The same for a stall whose cause is not known: it is mostly known a few seconds later.
UNKNOWN_CONFIRMED_AFTER = 8.0
#: The name under which lines are reported.
NAME = "service"
REDIS_AWAY = "redis_away"


class Announcer:
    """Decides which line to report, so that each trouble is reported once, and its end once.

    `now`: a monotonic time in seconds. A stack that was stopped has old signs of life when it starts: what they say is
    ignored until all was well once, or for as long as a stall takes to count as one.
    """

    def __init__(self, now: float) -> None:
        self._ignored_until: float | None = now + STALLED_AFTER
        self._announced: str | None = None
        self._began = now
        self._candidate: tuple[str | None, float] = (None, now)

    def line(self, code: str | None, text: str, now: float) -> str | None:
        """Return the line to report, if any. `code`: the trouble that there is now, None: there is none."""
        if self._ignored_until is not None:
            if code is not None and now < self._ignored_until:
                return None
            self._ignored_until = None
        if code != self._candidate[0]:
            if self._candidate[0] is None and self._announced is None:
                self._began = now
            self._candidate = (code, now)
        if code == self._announced or now - self._candidate[1] < _confirmed_after(code):
            return None
        if code is None:
            self._announced = None
            return f"works again, after {now - self._began:.0f} s"
        if code == TroubleCode.STALLED and self._announced is not None:
            return None
        self._announced = code
        return text


def _confirmed_after(code: str | None) -> float:
    return UNKNOWN_CONFIRMED_AFTER if code == TroubleCode.STALLED else CONFIRMED_AFTER


class StallWatch:
    """Reports troubles of the service whose jobs are in this Redis, while a `with` block runs."""

    def __init__(self, redis_url: str, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis_url = redis_url
        self._report = report
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stall-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        client = connect(self._redis_url, most_connections=1)
        store, announcer = Store(client, Settings()), Announcer(self._clock())
        try:
            while not self._stopping.wait(INTERVAL):
                if line := announcer.line(*_look(store), self._clock()):
                    self._report(NAME, line)
        finally:
            client.close()


def _look(store: Store) -> tuple[str | None, str]:
    """Return the code and the text of the trouble that there is now; None and "" if there is none."""
    try:
        troubles = store.liveness.troubles()
    except StoreUnavailable as error:
        return REDIS_AWAY, str(error)
    except RecordDamaged:
        return None, ""  # for the audit
    return (troubles[0].code, _text(troubles[0])) if troubles else (None, "")


def _text(trouble: Trouble) -> str:
    return f"{trouble.what}. {trouble.do}"
