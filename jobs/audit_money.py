"""The part of the audit that concerns money: what is reserved, what batches will cost, and the ledger of the days."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from jobs.findings import Finding, ids_of
from jobs.keys import Keys
from jobs.money import read_ledger
from jobs.record import LANE
from jobs.states import FINAL, HOLDS_SLOTS

UNKNOWN = "?"


@dataclass(slots=True)
class Money:
    """What the counters should say of the records that were read."""

    reserved: Counter[str] = field(default_factory=Counter)
    #: Reserved by jobs of batches, whose key only the batch tells.
    of_batches: Counter[str] = field(default_factory=Counter)
    unfinished: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, job_id: str, fields: Mapping[str, str]) -> Iterator[Finding]:
        """Count a record."""
        state, batch = fields["s"], fields.get("b")
        class_ = f"{fields['m']}|{fields.get('n', '1')}|{fields.get('V', '')}"
        if batch is not None and state not in FINAL:
            self.unfinished[batch][class_] += 1
        amount = fields.get("R")
        if amount is None:
            return
        if "w" not in fields and (fields.get("p") if state in FINAL else state) not in HOLDS_SLOTS:
            yield Finding("reserved", job_id, f"has money reserved, though it is {state}", "HDEL its field R.")
        if amount == UNKNOWN:
            self.reserved[UNKNOWN + class_] += 1
            return
        self.reserved["l" + fields.get("w", fields.get("L", LANE))] += int(amount)
        if batch is not None:
            self.of_batches[batch] += int(amount)
        elif "K" in fields:
            self.reserved["k" + fields["K"]] += int(amount)

    def findings(self, client: redis.Redis, keys: Keys) -> Iterator[Finding]:
        """Where the counters differ from the records, or from one another."""
        yield from self._reserved(client, keys)
        yield from self._unfinished(client, keys)
        yield from _ledger(client, keys)

    def _reserved(self, client: redis.Redis, keys: Keys) -> Iterator[Finding]:
        should = self.reserved.copy()
        for batch, amount in self.of_batches.items():
            should["b" + batch] += amount
            if owner := client.hget(keys.of("batch", batch), "key"):
                should["k" + str(owner)] += amount
        key = keys.single("reserved")
        told: Any = client.hgetall(key)
        for who in {*told, *should}:
            if over := int(told.get(who, 0)) - should[who]:
                detail = f"what is reserved for {who} differs from its recount by {over:+d}"
                yield Finding("reserved", who, detail, f"HINCRBY {key} '{who}' {-over}")

    def _unfinished(self, client: redis.Redis, keys: Keys) -> Iterator[Finding]:
        for batch in {*ids_of(client, keys, "batch"), *self.unfinished}:
            key = keys.of("batch", batch)
            fields: Any = client.hgetall(key)
            told = {name[2:]: int(count) for name, count in fields.items() if name.startswith("c:")}
            for class_ in {*told, *self.unfinished[batch]}:
                if over := told.get(class_, 0) - self.unfinished[batch][class_]:
                    detail = f"its unfinished jobs of the price {class_} differ from their recount by {over:+d}"
                    yield Finding("expected", batch, detail, f"HINCRBY {key} 'c:{class_}' {-over}")


def _ledger(client: redis.Redis, keys: Keys) -> Iterator[Finding]:
    total = 0
    for day in ids_of(client, keys, "spent"):
        ledger = read_ledger(client, keys, int(day))
        should: Counter[str] = Counter()
        for (lane, _, _, owner), entry in ledger.entries.items():
            total += entry.nano
            should["l" + lane] += entry.nano
            if owner:
                should["k" + owner] += entry.nano
        for who in {*ledger.told, *should}:
            if over := ledger.told[who] - should[who]:
                key = keys.of("spent", day)
                detail = f"what {who} spent differs from the entries by {over:+d} nano-dollars"
                yield Finding("ledger", f"day {day}", detail, f"HINCRBY {key} '{who}' {-over}")
        if client.zscore(keys.single("days"), day) is None:
            yield Finding("ledger", f"day {day}", "is in no list of days", f"ZADD {keys.single('days')} {day} {day}")
    key = keys.single("totals")
    spent, past = (int(value or 0) for value in client.hmget(key, ["spent", "past"]))
    if over := total + past - spent:
        detail = f"its days together differ from what was spent in all by {over:+d} nano-dollars"
        yield Finding("ledger", "all", detail, f"HINCRBY {key} past {-over}")
