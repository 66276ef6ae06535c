"""The constants of a lane's circuit breaker and learned limit, also for the Lua verbs."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from jobs.units import from_micros

#: Calls in a row without an answer, or with a 5xx, after which a lane's breaker opens.
FAILURES_TO_OPEN = 5
#: Seconds from its opening to the first probe; doubled after each that gets no answer.
PROBE_BASE = 1.0
PROBE_CAP = 30.0

#: The first learned limit (images) where BOOMERANG_MAX_IN_FLIGHT is not set.
FIRST_LIMIT = 10
#: A cut leaves this share of the images in use. 0.7 as in CUBIC: enough to end the refusals, with few idle slots.
CUT = 0.7
#: The limit grows only while at least this share of it is in use: idle slots prove nothing.
USED = 0.8
#: Refusals come in groups: within so many seconds they count as one.
CUT_EVERY = 5.0
#: Growth is written into the history at most once in so many seconds.
GROWTH_EVERY = 60.0
#: Entries of a lane's history.
HISTORY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEvent:
    """An entry of a lane's history: `what` is limit, opened or closed; `limit` the learned one after it, if any."""

    at: datetime
    what: str
    limit: float | None
    reason: str

    @classmethod
    def of(cls, entry: dict[str, Any]) -> "LaneEvent":
        """Read an entry that `shared/lanes.lua` wrote."""
        limit = entry.get("limit")
        return cls(
            at=from_micros(entry["at"]),
            what=str(entry["what"]),
            limit=None if limit is None else float(limit),
            reason=str(entry["reason"]),
        )


class Reachability(StrEnum):
    """Whether a call showed that the provider answers."""

    ANSWER = "answer"  #: it answered, in whatever way
    SILENCE = "silence"  #: no answer in time, a broken connection, or 5xx
    UNREADABLE = "unreadable"  #: it answered, but not readably about this task: that says nothing about other tasks
    NO_RESULT = "no_result"  #: it answered that the task is completed, but without a usable result
    UNANSWERED = "unanswered"  #: no answer about this task, although it answers other calls
    NOTHING = ""  #: there was no call, or it shows neither


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe of a lane's provider. `count`: the probes before it."""

    lane: str
    count: int
    reason: str
    since: datetime


def paused_text(reason: str) -> str:
    """Return why a lane submits nothing that an operator has paused."""
    return f"paused by an operator: {reason}" if reason else "paused by an operator"


def constants() -> str:
    """Return the numbers above as Lua constants, times in µs."""
    return (
        f"local FAILURES_TO_OPEN={FAILURES_TO_OPEN}\nlocal PROBE_BASE={PROBE_BASE * 1e6:.0f}\nlocal HISTORY={HISTORY}\n"
        f"local FIRST_LIMIT={FIRST_LIMIT}\nlocal CUT={CUT}\nlocal USED={USED}\n"
        f"local CUT_EVERY={CUT_EVERY * 1e6:.0f}\nlocal GROWTH_EVERY={GROWTH_EVERY * 1e6:.0f}\n"
    )
