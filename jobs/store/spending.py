"""What is spent, on which day and for whom; what is reserved; and what the caps say to that.

The scripts keep the counts (jobs/lua/shared/money.lua), in whole nano-dollars. A day is one of UTC.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import redis

from jobs.job import dollars, nano
from jobs.store.redis_keys import Keys

if TYPE_CHECKING:
    from jobs.lanes import LaneSettings
    from jobs.settings import Settings

#: Seconds.
DAY = 86_400.0
#: Days for which it is kept what was spent.
DAYS_KEPT = 400
#: How soon (seconds) a queue at a cap is looked at again: while money is reserved that may come free, and otherwise.
CAP_LOOK = 2.0
CAP_LOOK_IDLE = 60.0
#: Fields of a day's ledger read in one step.
CHUNK = 1_000


class By(StrEnum):
    """What spending is told apart by."""

    DAY = "day"
    KEY = "key"
    BATCH = "batch"
    MODEL = "model"
    LANE = "lane"


@dataclass(frozen=True, slots=True)
class Row:
    """`name` is empty for what came without a key or a batch. `jobs`: results that came or cost something."""

    name: str
    cost: Decimal
    jobs: int


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent in some days, dearest first, or by day."""

    by: By
    rows: tuple[Row, ...]

    @property
    def cost(self) -> Decimal:
        """Of all rows, in USD."""
        return sum((row.cost for row in self.rows), Decimal(0))

    @property
    def jobs(self) -> int:
        """Of all rows."""
        return sum(row.jobs for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """Of what spending is asked for; empty: of all."""

    key: str | None = None
    batch: str | None = None
    model: str | None = None
    lane: str | None = None

    def takes(self, names: "dict[By, str]") -> bool:
        """Whether that spending is asked for."""
        wanted = {By.KEY: self.key, By.BATCH: self.batch, By.MODEL: self.model, By.LANE: self.lane}
        return all(name is None or names[by] == name for by, name in wanted.items())


@dataclass(slots=True)
class _Sum:
    nano: int = 0
    jobs: int = 0


@dataclass(slots=True)
class Ledger:
    """One day's ledger, read whole."""

    entries: dict[tuple[str, str, str, str], _Sum] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)  #: what it says of lanes and keys: l<lane>, k<key>


def read_ledger(client: redis.Redis, keys: Keys, number: int) -> Ledger:
    """The ledger of a day (since 1970), by (lane, model, batch, key)."""
    ledger = Ledger()
    for name, value in client.hscan_iter(keys.member("spent", str(number)), count=CHUNK):
        kind, of = name[0], name[1:]
        if kind in "lk":
            ledger.sums[name] = int(value)
            continue
        lane, model, batch, key = of.split("|", 3)
        entry = ledger.entries.setdefault((lane, model, batch, key), _Sum())
        if kind == "$":
            entry.nano = int(value)
        else:
            entry.jobs = int(value)
    return ledger


def spent(client: redis.Redis, keys: Keys, by: By, days: tuple[date, date], only: Only) -> Spend:
    """What was spent from the first day to the last, both taken in."""
    sums: dict[str, _Sum] = {}
    for day, number in _days(client, keys, *days):
        for (lane, model, batch, key), entry in read_ledger(client, keys, number).entries.items():
            names = {By.DAY: day.isoformat(), By.KEY: key, By.BATCH: batch, By.MODEL: model, By.LANE: lane}
            if only.takes(names):
                total = sums.setdefault(names[by], _Sum())
                total.nano += entry.nano
                total.jobs += entry.jobs
    order = sorted(sums.items(), key=lambda each: each[0] if by is By.DAY else (-each[1].nano, each[0]))
    return Spend(by, tuple(Row(name, dollars(total.nano), total.jobs) for name, total in order))


def day_number(moment: float) -> int:
    """The day since 1970 of a time in seconds since then."""
    return int(moment // DAY)


def next_day(moment: float) -> datetime:
    """When the day of such a time is over."""
    return datetime.fromtimestamp((day_number(moment) + 1) * DAY, UTC)


def rules(settings: "Settings", lane: "LaneSettings") -> str:
    """What admission must keep to on behalf of keys, and of one lane's budget (admit.lua)."""
    limits = settings.key_limits
    made: dict[str, object] = {
        "weights": {name: each.weight for name, each in limits.items()},
        "caps": {name: nano(each.max_cost_per_day) for name, each in limits.items() if each.max_cost_per_day},
    }
    if lane.max_cost_per_day is not None:
        made["cap"] = nano(lane.max_cost_per_day)
    return json.dumps(made)


def _days(client: redis.Redis, keys: Keys, first: date, last: date) -> Iterator[tuple[date, int]]:
    epoch = date(1970, 1, 1)
    known: Any = client.zrangebyscore(keys.singleton("days"), (first - epoch).days, (last - epoch).days)
    for number in map(int, known):
        yield epoch + timedelta(days=number), number
