"""The audit of spending: the costs of results, and the ledgers of the days."""

from collections import Counter
from collections.abc import Iterator, Mapping

from jobs.audit.findings import Check, Drift, Finding, Reader, whole
from jobs.fields import Entry, Payer

#: The days that may still change: today, and around midnight the day before.
MOVING = 2
#: The name of an entry is <lane>|<model>|<batch>|<key>.
ENTRY_BARS = 3
#: The beginning of the names of entries, and of those of their sums by lane and key.
_SUMS = {Entry.COST: "", Entry.UNKNOWN: Entry.UNKNOWN_OF}
#: How often the days are summed at most, until none was deleted meanwhile.
COUNTS = 5


def spent_findings(reader: Reader, costs: Mapping[str, int]) -> Iterator[Finding]:
    """Yield the counters below the cost of the stored results: the total ('') and those of batches ('b…').

    A counter may be higher, because the costs of deleted results and of those that a retry replaced still count. The
    counters are read after the results, so they can only have grown.
    """
    keys = reader.keys
    for who, cost in costs.items():
        key, id_ = (keys.member("batch", who[1:]), who[1:]) if who else (keys.singleton("totals"), "all")
        counted = reader.value(key, "spent")
        if counted is not None and str(whole(counted)) != counted:
            continue  # not a number: jobs.audit.damage reports it
        if (
            (short := cost - whole(counted)) > 0
            and key not in reader.misplaced_keys
            and (not who or reader.client.exists(key))
        ):
            detail = f"stored results cost {short} nano-dollars more than were counted"
            drift = Drift(key, "spent", -short)
            yield Finding("spent", id_, detail, f"HINCRBY {key} spent {short}", drifts=(drift,))


def ledger_findings(reader: Reader) -> Iterator[Finding]:
    """Yield where the sums of a day differ from its entries, or all days together from the total."""
    client, keys, totals = reader.client, reader.keys, reader.keys.singleton("totals")
    for _ in range(COUNTS):
        past = whole(reader.value(totals, "past"))
        named = reader.names["spent"] | set(reader.members(keys.singleton("days")))
        days = sorted({int(day) for day in named if day.isdecimal()})
        still, moving = days[:-MOVING], days[-MOVING:]
        ledgers = {day: _flat(reader, day) for day in still}
        with client.pipeline(transaction=True) as pipe:
            pipe.hmget(totals, ["spent", "past"])
            pipe.zrange(keys.singleton("days"), 0, -1)
            for day in moving:
                pipe.hgetall(keys.member("spent", str(day)))
            (spent, now_past), listed, *fields = reader.ask(pipe)
        listed = [day for day in listed if day.isdecimal()]
        if whole(now_past) != past or not {*map(int, listed)} <= {*days}:
            continue  # a day was deleted meanwhile, or began
        ledgers.update(zip(moving, fields, strict=True))
        yield from _compared(reader, ledgers, set(map(int, listed)), past, whole(spent))
        return


def _flat(reader: Reader, day: int) -> dict[str, str]:
    key = reader.keys.member("spent", str(day))
    return dict(reader.fields(key))


def _sums(fields: Mapping[str, str]) -> tuple[Counter[str], Counter[str], int]:
    """Return the sums over the entries of a ledger by lane and key, those that it stores, and what all entries cost."""
    summed, stored, cost = Counter[str](), Counter[str](), 0
    for name, value in fields.items():
        kind, amount = name[:1], whole(value)
        if kind in _SUMS and name.count("|") >= ENTRY_BARS:
            lane, _, _, owner = name[1:].split("|", 3)
            summed[_SUMS[kind] + Payer.LANE + lane] += amount
            if owner:
                summed[_SUMS[kind] + Payer.KEY + owner] += amount
            cost += amount if kind == Entry.COST else 0
        elif kind in {Payer.LANE, Payer.KEY, Entry.UNKNOWN_OF}:
            stored[name] = amount
    return summed, stored, cost


def _compared(
    reader: Reader, ledgers: Mapping[int, Mapping[str, str]], listed: set[int], past: int, spent: int
) -> Iterator[Finding]:
    keys, total = reader.keys, past
    for day, fields in ledgers.items():
        key = keys.member("spent", str(day))
        summed, stored, cost = _sums(fields)
        total += cost
        for who in sorted({*stored, *summed}):
            if over := stored[who] - summed[who]:
                detail = f"what {who} spent differs from the entries by {over:+d} nano-dollars"
                if who.startswith(Entry.UNKNOWN_OF):
                    detail = f"how many results of {who[1:]} have an unknown cost differs from the entries by {over:+d}"
                drift = Drift(key, who, over, absent=True)
                yield Finding("ledger", f"day {day}", detail, f"HINCRBY {key} '{who}' {-over}", drifts=(drift,))
        if fields and day not in listed:
            remedy = f"ZADD {keys.singleton('days')} {day} {day}"
            check = Check("repair_day", (str(day),), "day")
            yield Finding("ledger", f"day {day}", "it is missing in the list of days", remedy, check)
    if over := total - spent:
        detail = f"all days together differ from the total by {over:+d} nano-dollars"
        remedy = "None: it is not known which is right. Compare both with the provider's bill."
        yield Finding("ledger", "all", detail, remedy)
