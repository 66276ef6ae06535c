"""Spending by day, producer's key, batch, model and lane; and the caps that admission obeys.

The scripts count and decide (jobs/lua/shared/money.lua), in whole nano-dollars. Days are days of UTC.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import redis

from jobs.fields import Entry, Payer
from jobs.job import CLASSES, Priority
from jobs.lanes import LaneSettings
from jobs.producer_ids import given_id
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.units import dollars, nano

#: Seconds.
DAY = 86_400.0
#: How many days the ledgers are kept.
DAYS_KEPT = 400
#: Seconds until a queue at a cap is checked again: while money is reserved, which may be released, and otherwise.
CAP_RECHECK = 2.0
CAP_RECHECK_IDLE = 60.0
#: Entries of a day's ledger of labels. Beyond them, new values of a label count together, without a value.
MOST_LABELS = 20_000
#: Fields of a day's ledger read in one step.
CHUNK = 1_000


class By(StrEnum):
    """The grouping of spending."""

    DAY = "day"
    KEY = "key"
    BATCH = "batch"
    MODEL = "model"
    LANE = "lane"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Row:
    """Spending of one group. `name`: empty for jobs without a key or batch. `jobs`: results that came or cost money.

    `unknown_costs`: how many of these cost an unknown amount, which `cost` does not include.
    """

    name: str
    cost: Decimal
    jobs: int
    unknown_costs: int = 0


@dataclass(frozen=True, slots=True)
class Spend:
    """Spending on some days: the group with the highest cost first, or by day."""

    by: By
    rows: tuple[Row, ...]

    @property
    def cost(self) -> Decimal:
        """The sum of all rows, in USD."""
        return sum((row.cost for row in self.rows), Decimal(0))

    @property
    def jobs(self) -> int:
        """The sum of all rows."""
        return sum(row.jobs for row in self.rows)

    @property
    def unknown_costs(self) -> int:
        """The sum of all rows."""
        return sum(row.unknown_costs for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Only:
    """A filter for spending: each name that is set must match. `batch` may be the id that its producer gave."""

    key: str | None = None
    batch: str | None = None
    model: str | None = None
    lane: str | None = None

    def takes(self, names: dict[By, str]) -> bool:
        """Return whether spending under these names matches."""
        wanted = {By.KEY: self.key, By.MODEL: self.model, By.LANE: self.lane}
        of_batch = self.batch is None or self.batch in (names[By.BATCH], given_id(names[By.BATCH]))
        return of_batch and all(name is None or names[by] == name for by, name in wanted.items())


@dataclass(slots=True)
class _Sum:
    nano: int = 0
    jobs: int = 0
    unknown_costs: int = 0


@dataclass(slots=True)
class Ledger:
    """The ledger of one day."""

    entries: dict[tuple[str, str, str, str], _Sum] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)  #: of lanes and keys: l<lane>, k<key>


def read_ledger(client: redis.Redis, keys: Keys, number: int) -> Ledger:
    """Read the ledger of a day (since 1970), with entries by (lane, model, batch, key)."""
    ledger = Ledger()
    for name, value in client.hscan_iter(keys.member("spent", str(number)), count=CHUNK):
        kind, of = name[0], name[1:]
        if kind in {Payer.LANE, Payer.KEY}:
            ledger.sums[name] = int(value)
            continue
        if kind == Entry.UNKNOWN_OF:
            continue
        lane, model, batch, key = of.split("|", 3)
        entry = ledger.entries.setdefault((lane, model, batch, key), _Sum())
        if kind == Entry.COST:
            entry.nano = int(value)
        elif kind == Entry.UNKNOWN:
            entry.unknown_costs = int(value)
        else:
            entry.jobs = int(value)
    return ledger


def spent(client: redis.Redis, keys: Keys, by: By, days: tuple[date, date], only: Only) -> Spend:
    """Return the spending from the first day to the last, both included."""
    sums: dict[str, _Sum] = {}
    for day, number in _days(client, keys, *days):
        for (lane, model, batch, key), entry in read_ledger(client, keys, number).entries.items():
            names = {By.DAY: day.isoformat(), By.KEY: key, By.BATCH: batch, By.MODEL: model, By.LANE: lane}
            if only.takes(names):
                if only.key is not None:
                    names[By.BATCH] = given_id(batch)
                total = sums.setdefault(names[by], _Sum())
                total.nano += entry.nano
                total.jobs += entry.jobs
                total.unknown_costs += entry.unknown_costs
    order = sorted(sums.items(), key=lambda each: each[0] if by is By.DAY else (-each[1].nano, each[0]))
    return Spend(by, tuple(Row(name, dollars(each.nano), each.jobs, each.unknown_costs) for name, each in order))


def spent_by_label(client: redis.Redis, keys: Keys, name: str, days: tuple[date, date], owner: str | None) -> Spend:
    """Return the spending by the values of a label, from the first day to the last; `owner`: only of this key."""
    sums: dict[str, _Sum] = {}
    for _, number in _days(client, keys, *days):
        ledger = keys.member("spent_labels", str(number))
        for field_, amount in client.hscan_iter(ledger, match=f"?{name}=*", count=CHUNK):
            entry, (value, _, key) = field_[0], field_[len(name) + 2 :].rpartition("|")
            if owner not in (None, key):
                continue
            total = sums.setdefault(value, _Sum())
            if entry == Entry.COST:
                total.nano += int(amount)
            else:
                total.jobs += int(amount)
    order = sorted(sums.items(), key=lambda each: (-each[1].nano, each[0]))
    return Spend(By.LABEL, tuple(Row(value, dollars(each.nano), each.jobs) for value, each in order))


def day_number(moment: float) -> int:
    """Return the day since 1970 of a time in seconds since then."""
    return int(moment // DAY)


def next_day(moment: float) -> datetime:
    """Return when the day of this time ends."""
    return datetime.fromtimestamp((day_number(moment) + 1) * DAY, UTC)


def rules(settings: Settings, lane: LaneSettings) -> str:
    """Return the weights, ranks and daily caps for admission through a lane, as JSON for admit.lua."""
    weights = {name: each.weight for name, each in settings.key_limits.items()}
    limits = settings.key_limits.items()
    ranks = {name: int(CLASSES[each.priority]) for name, each in limits if each.priority is not Priority.NORMAL}
    of_lane = {"cap": nano(lane.max_cost_per_day)} if lane.max_cost_per_day is not None else {}
    return json.dumps({"weights": weights, "ranks": ranks, "caps": key_caps(settings), **of_lane})


def budgets(settings: Settings) -> str:
    """Return the lanes and keys with a daily cap, as payers, as JSON for finish.lua."""
    payers = [Payer.KEY + key for key in key_caps(settings)] + [Payer.LANE + lane for lane in lane_caps(settings.lanes)]
    return json.dumps(dict.fromkeys(payers, True))


def key_caps(settings: Settings) -> dict[str, int]:
    """Return the daily caps of producers' keys, in nano-dollars."""
    limits = settings.key_limits.items()
    return {name: nano(each.max_cost_per_day) for name, each in limits if each.max_cost_per_day}


def lane_caps(lanes: Sequence[LaneSettings]) -> dict[str, int]:
    """Return the daily caps of those lanes that have one, in nano-dollars."""
    return {lane.name: nano(lane.max_cost_per_day) for lane in lanes if lane.max_cost_per_day is not None}


def _days(client: redis.Redis, keys: Keys, first: date, last: date) -> Iterator[tuple[date, int]]:
    epoch = date(1970, 1, 1)
    known: Any = client.zrangebyscore(keys.singleton("days"), (first - epoch).days, (last - epoch).days)
    for number in map(int, known):
        yield epoch + timedelta(days=number), number
