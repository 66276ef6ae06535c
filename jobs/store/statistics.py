"""Figures about the whole installation: counts, memory and spending."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import redis

from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE, decoding
from jobs.fields import Entry, Payer
from jobs.owners import CELERY
from jobs.read_models import Totals
from jobs.receivers import NotificationLoad
from jobs.states import State
from jobs.store.context import StoreContext
from jobs.store.continuity import record_fields
from jobs.store.memory import Memory, read_memory
from jobs.store.spending import By, Only, Spend, day_number, next_day, spent, spent_by_label
from jobs.units import dollars

#: About how many entries of learned prices are read. There are as many as models, sizes and producers together make.
_MOST_PRICES = 1_000
_COUNT = re.compile(r"-?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Held:
    """What owners hold: `unfinished` jobs, and `stored` bytes of all their jobs and images."""

    unfinished: Mapping[str, int]
    stored: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LearnedPrice:
    """What jobs of a model, with so many images of a resolution ("": none named), cost lately in USD, newest first."""

    model: str
    images: int
    resolution: str
    costs: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Today:
    """Spending of this day (UTC) in USD, by lane and by key, and when the day ends.

    `unknown_lanes`, `unknown_keys`: results of today whose cost is unknown, of those that have a cap.
    """

    lanes: Mapping[str, Decimal]
    keys: Mapping[str, Decimal]
    unknown_lanes: Mapping[str, int]
    unknown_keys: Mapping[str, int]
    ends: datetime


class Statistics:
    """Reads counters. All methods raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys

    def memory(self) -> Memory | None:
        """Read the memory use of Redis; None if its user may not read it."""
        return read_memory(self._client)

    @translate_errors()
    def notifications(self) -> NotificationLoad:
        """Count the notifications under way, and what keeps others from being sent. At most MAX_NOTIFYING are read."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(self._keys.singleton("notifying"), 0, -1, withscores=True)
            pipe.zcard(self._keys.singleton("waiting_owners"))
            pipe.zcard(self._keys.singleton("open_receivers"))
            (seconds, micros), places, waiting, open_breakers = pipe.execute()
        now = int(seconds) * 1_000_000 + int(micros)
        # A place whose lease is over was a killed worker's.
        receivers = Counter(str(entry).rpartition("|")[0] for entry, ends in places if ends > now)
        return NotificationLoad(
            under_way=receivers.total(),
            to_busiest=max(receivers.values(), default=0),
            waiting_producers=int(waiting),
            open_breakers=int(open_breakers),
        )

    @translate_errors()
    def held(self) -> Held:
        """Read what the owners of jobs hold. Damaged counts are left out, because only limits depend on them."""
        with self._client.pipeline(transaction=False) as pipe:
            for name in ("unfinished", "stored", "stored_images"):
                pipe.hgetall(self._keys.singleton(name))
            unfinished, stored, images = map(_counts, pipe.execute(raise_on_error=False))
        return Held(unfinished, {name: stored.get(name, 0) + images.get(name, 0) for name in {*stored, *images}})

    @translate_errors()
    def spend(self, by: By, first: date, last: date, only: Only | None = None) -> Spend:
        """Sum the spending from the first day (UTC) to the last, inclusive."""
        with decoding("what was spent"):
            return spent(self._client, self._keys, by, (first, last), only or Only())

    @translate_errors()
    def spend_by_label(self, name: str, first: date, last: date, owner: str | None = None) -> Spend:
        """Sum the spending by the values of a label; `owner`: only that of one key."""
        with decoding("what was spent"):
            return spent_by_label(self._client, self._keys, name, (first, last), owner)

    @translate_errors()
    def today(self, lanes: Sequence[str], keys: Sequence[str], *, now: float) -> Today:
        """Read the sums of these lanes and keys, whatever else the ledger of the day of `now` has: one round trip."""
        payers = [*(Payer.LANE + name for name in lanes), *(Payer.KEY + name for name in keys)]
        fields = [*payers, *(Entry.UNKNOWN_OF + payer for payer in payers)]
        found: Any = self._client.hmget(self._keys.member("spent", str(day_number(now))), fields) if fields else []
        with decoding("what was spent today"):
            numbers = [int(value or 0) for value in found]
        sums, unknown = numbers[: len(payers)], numbers[len(payers) :]
        count = len(lanes)
        return Today(
            dict(zip(lanes, map(dollars, sums[:count]), strict=True)),
            dict(zip(keys, map(dollars, sums[count:]), strict=True)),
            dict(zip(lanes, unknown[:count], strict=True)),
            dict(zip(keys, unknown[count:], strict=True)),
            next_day(now),
        )

    @translate_errors()
    def prices(self) -> tuple[LearnedPrice, ...]:
        """Return prices of all producers' jobs together, by model; of very many some. Damaged ones are left out."""
        found: Any = self._client.hscan(self._keys.singleton("prices"), count=_MOST_PRICES)[1]
        prices = []
        for price_class, costs in found.items():
            with suppress(*UNREADABLE):
                model, images, resolution = price_class.rsplit("|", 2)
                if "|" not in model:  # others are those of a producer
                    amounts = tuple(map(dollars, costs.split()))
                    prices.append(LearnedPrice(model, int(images), resolution, amounts))
        return tuple(sorted(prices, key=lambda each: (each.model, each.images, each.resolution)))

    @translate_errors()
    def owners(self) -> list[str]:
        """Return the names of all producers that ever had a job; also those for jobs that came by Celery or no key."""
        names: Any = self._client.smembers(self._keys.singleton("producers"))
        return [*sorted(map(str, names)), CELERY, ""]

    @translate_errors()
    def totals(self) -> Totals:
        """Count jobs by state, and by pool those that wait for admission; sum the cost of all."""
        keys = self._keys
        pools = [str(pool) for pool in self._client.hkeys(keys.singleton("pools"))]
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(keys.singleton("totals"))
            pipe.zcard(keys.singleton("images"))
            for pool in pools:
                pipe.hget(keys.member("pool", pool), "ready")
            for state in State:
                pipe.zcard(keys.member("state", state))
            fields, images, *numbers = pipe.execute()
        epoch, run = record_fields(self._client, keys, "number", "run")
        ready, counts = numbers[: len(pools)], numbers[len(pools) :]
        with decoding("the totals"):
            return Totals(
                counts=dict(zip(State, counts, strict=True)),
                ready={pool: int(waiting or 0) for pool, waiting in zip(pools, ready, strict=True)},
                cost=dollars(fields.get("spent", 0)),
                contradicted=int(fields.get("contradicted", 0)),
                unreadable=int(fields.get("unreadable", 0)),
                images=int(images),
                epoch=int(epoch or 0),
                sees_restarts=None if run is None else bool(run),
                image_bytes=int(fields.get("image_bytes", 0)),
            )


def _counts(answer: Any) -> dict[str, int]:
    """Return the counts in a hash. Raises the error that Redis answered, unless the key is no hash."""
    if isinstance(answer, redis.RedisError):
        if not str(answer).startswith("WRONGTYPE"):
            raise answer
        return {}
    return {name: int(count) for name, count in answer.items() if _COUNT.fullmatch(count)}
