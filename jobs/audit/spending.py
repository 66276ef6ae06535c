"""The part of the audit that concerns money spent: what results cost, and the ledger of the days."""

from collections import Counter
from collections.abc import Iterator, Mapping

from jobs.audit.findings import Drift, Finding, Look, Reader, whole

#: Days that may still change: today, and the one before where it is midnight.
MOVING = 2
#: How often the days are added up, until none was forgotten meanwhile.
COUNTS = 5


def spent_findings(reader: Reader, costs: Mapping[str, int]) -> Iterator[Finding]:
    """Where less is counted than the stored results cost, in all ('') and by batch ('b…').

    What a retry replaced and what was forgotten stays spent, so more may be counted. The counters are read after the
    results: they may only have grown.
    """
    keys = reader.keys
    for who, cost in costs.items():
        key, id_ = (keys.member("batch", who[1:]), who[1:]) if who else (keys.singleton("totals"), "all")
        told = reader.value(key, "spent")
        if told is not None and str(whole(told)) != told:
            continue  # no number, which is told of by itself
        if (short := cost - whole(told)) > 0 and key not in reader.odd_keys and (not who or reader.client.exists(key)):
            detail = f"stored results cost {short} nano-dollars more than were counted"
            drift = Drift(key, "spent", -short)
            yield Finding("spent", id_, detail, f"HINCRBY {key} spent {short}", drifts=(drift,))


def ledger_findings(reader: Reader) -> Iterator[Finding]:
    """Where the sums of a day differ from its entries, or all days from what was spent in all."""
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
            continue  # a day was forgotten meanwhile, or has begun
        ledgers.update(zip(moving, fields, strict=True))
        yield from _judged(reader, ledgers, set(map(int, listed)), past, whole(spent))
        return


def _flat(reader: Reader, day: int) -> dict[str, str]:
    key = reader.keys.member("spent", str(day))
    return dict(reader.fields(key))


def _judged(
    reader: Reader, ledgers: Mapping[int, Mapping[str, str]], listed: set[int], past: int, spent: int
) -> Iterator[Finding]:
    keys, total = reader.keys, past
    for day, fields in ledgers.items():
        key, should, told = keys.member("spent", str(day)), Counter[str](), Counter[str]()
        for name, value in fields.items():
            if name[:1] == "$" and name.count("|") >= len("lmb"):
                lane, _, _, owner = name[1:].split("|", 3)
                total += whole(value)
                should["l" + lane] += whole(value)
                if owner:
                    should["k" + owner] += whole(value)
            elif name[:1] in {"l", "k"}:
                told[name] = whole(value)
        for who in sorted({*told, *should}):
            if over := told[who] - should[who]:
                detail = f"what {who} spent differs from the entries by {over:+d} nano-dollars"
                drift = Drift(key, who, over, absent=True)
                yield Finding("ledger", f"day {day}", detail, f"HINCRBY {key} '{who}' {-over}", drifts=(drift,))
        if fields and day not in listed:
            remedy = f"ZADD {keys.singleton('days')} {day} {day}"
            look = Look("repair_day", (str(day),), "day")
            yield Finding("ledger", f"day {day}", "is in no list of days", remedy, look)
    if over := total - spent:
        detail = f"its days together differ from what was spent in all by {over:+d} nano-dollars"
        remedy = "Nothing by itself: it is not known which is right. Hold both against the provider's bill."
        yield Finding("ledger", "all", detail, remedy)
