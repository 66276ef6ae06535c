"""The recent past in counters: how many jobs ended each minute and hour, how, and how long they waited and took.

Each end counts one cell of a hash: `<state>|<cause>|<wait>|<took>|<owner>` (lua/shared/history.lua). State and cause
are letters of jobs.timeline. Wait and took are numbers of buckets; `-` where the time is not known. So one command
counts an end for all sums, and quantiles follow from the buckets.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from jobs.states import FINAL, State
from jobs.timeline import CAUSES, OF_STATE

#: For how long counters are kept: minutes, then hours.
MINUTES_KEPT, HOURS_KEPT = 120, 192
MINUTE, HOUR = 60, 3600
#: Seconds below which a time is in bucket 0, and the number of the last bucket, about three days. Each bucket is wider
#: than the one before by the square root of 2, so a quantile is at most a fifth away.
FIRST_BOUND, MOST_BUCKET = 0.25, 40
#: Cells of one minute or hour. Further ends count without their owner.
MOST_CELLS = 5_000
_STATES = {OF_STATE[state]: state for state in FINAL}
_CAUSES = {letter: cause for cause, letter in CAUSES.items()}


def constants() -> str:
    """Return the Lua constants of shared/history.lua."""
    return (
        f"local FIRST_BOUND={FIRST_BOUND * 1_000_000:.0f}\nlocal MOST_BUCKET={MOST_BUCKET}\n"
        f"local MOST_CELLS={MOST_CELLS}\n"
    )


def bounds(bucket: int) -> tuple[float, float]:
    """Return the seconds at which a bucket begins and ends. Longer times are in the last one, too."""
    return (0.0 if bucket == 0 else FIRST_BOUND * 2 ** ((bucket - 1) / 2)), FIRST_BOUND * 2 ** (bucket / 2)


@dataclass(frozen=True, slots=True)
class Durations:
    """Times in buckets."""

    buckets: Mapping[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many times are known."""
        return sum(self.buckets.values())

    def quantile(self, share: float) -> float | None:
        """Return about the time (seconds) that this share of all times does not exceed; None: no time is known."""
        rank, passed = share * self.count, 0
        for bucket, count in sorted(self.buckets.items()):
            if passed + count >= rank:
                first, last = bounds(bucket)
                return first + (last - first) * (rank - passed) / count
            passed += count
        return None


@dataclass(frozen=True, slots=True)
class Period:
    """A minute or an hour. `settled_by`: completed and failed jobs, by what ended them.

    `waited`: from acceptance to the first submission; `took`: at the provider, of the last attempt.
    """

    at: datetime
    seconds: int
    ended: Mapping[State, int]
    settled_by: Mapping[str, int]
    waited: Durations
    took: Durations


def read_period(at: datetime, seconds: int, rows: Iterable[Mapping[str, str]], owner: str | None) -> Period:
    """Sum the cells of some hashes, of one owner or (None) of all. Leaves out what no version writes."""
    ended, settled_by = Counter[State](), Counter[str]()
    waits, times = Counter[int](), Counter[int]()
    for row in rows:
        for cell, value in row.items():
            letter, _, rest = cell.partition("|")
            cause, _, rest = rest.partition("|")
            wait, _, rest = rest.partition("|")
            took, _, its = rest.partition("|")
            if letter not in _STATES or not value.isdecimal() or owner not in (None, its):
                continue
            count = int(value)
            ended[_STATES[letter]] += count
            if cause in _CAUSES:
                settled_by[_CAUSES[cause]] += count
            for bucket, into in ((wait, waits), (took, times)):
                if bucket.isdecimal():
                    into[int(bucket)] += count
    return Period(at, seconds, ended, settled_by, Durations(waits), Durations(times))
