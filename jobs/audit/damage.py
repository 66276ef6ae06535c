"""The audit of damage: keys of a wrong type, and values that this service does not write.

The other parts of the audit count damaged data as absent, and continue. This part reports them, once.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from jobs.api_keys import MIGRATED, AccessKey
from jobs.audit.findings import Finding, Reader
from jobs.audit.spending import ENTRY_BARS
from jobs.batch_ends import is_damaged
from jobs.decoding import UNREADABLE, decoding, read_labels
from jobs.errors import RecordDamaged
from jobs.fields import NAMES, BatchCounter, Entry, is_text, printable
from jobs.job import Job
from jobs.new_job import BatchOptions, Hold
from jobs.states import State
from jobs.store.prices import PRICES_KEPT

RULE = "damaged"
#: Keys that a repair recreates from the records. Inspect a damaged one, then delete it.
_DERIVED = frozenset(
    {
        "alarms",
        "doubts",
        "unreadable",
        "undelivered",
        "unknown_costs",
        "damaged",
        "at_cap",
        "capped",
        "sweeps",
        "bulks",
        "state",
    }
    | {"labelled", "grouped", "ready", "queues", "tags", "pool", "admit_hint", "reconcile_hint", "repair", "written"}
    | {"changes", "history", "accessed", "marked"}
)
_LATEST = 9_999_999_999_999_999
_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_COSTS = re.compile(rf"\d{{1,18}}( \d{{1,18}}){{0,{PRICES_KEPT - 1}}}", re.ASCII)
_ENTRIES = 500
_BATCH_TEXTS = frozenset({"callback", "key", "labels", "asked", "class", "paused", "do", "only", "by"})
_EPOCH_TEXTS = frozenset({"run", "installation", "lost", "expected", "gaps"})
_LANE_TEXTS = frozenset({"why", "because", "paused_why", "scout", "limit"})

#: Takes a field and its value; returns what is wrong with it, None: nothing.
_Check = Callable[[str, str], str | None]


def damage_findings(reader: Reader) -> Iterator[Finding]:
    """Yield all damage except that of records. Call it after the survey, which finds the keys of a wrong type."""
    for name, (family, key, found, expected) in sorted(reader.misplaced.items()):
        remedy = f"Look at it (TYPE {key}). "
        if family in _DERIVED:
            remedy += f"What it holds follows from the records: DEL {key}, then audit --repair."
        else:
            remedy += "Restore it from a copy of Redis, or DEL it: its contents are lost then."
        yield Finding(RULE, name, f"{key} is a {found}, not a {expected}", remedy)
    of, single = reader.keys.member, reader.keys.singleton
    for family, check in (
        ("batch", _batch),
        ("lane", _lane),
        ("pool", _pool),
        ("spent", _spent),
        ("spent_labels", _whole),
    ):
        for each in sorted(reader.names[family]):
            yield from _hash(reader, f"{family} {printable(each)}", of(family, each), check)
    for batch in sorted(reader.names["batch"]):
        created = reader.value(of("batch", batch), "created")
        if (
            created is None
            and reader.client.exists(of("batch", batch))
            and of("batch", batch) not in reader.misplaced_keys
        ):
            remedy = (
                f"HSET {of('batch', batch)} created (its score in {single('batches')}) accepted (LLEN of its list)."
            )
            yield Finding(RULE, f"batch {printable(batch)}", "it lacks the time at which it was created", remedy)
    for name in ("totals", "heartbeats", "reserved", "unfinished", "stored", "stored_images", "uses", "accessed"):
        yield from _hash(reader, name.replace("_", " "), single(name), _whole)
    yield from _hash(reader, "prices", single("prices"), _costs)
    yield from _hash(reader, "epoch", single("epoch"), _epoch)
    yield from _hash(reader, "image", single("kept"), _kept, by_field=True)
    yield from _hash(reader, "key", reader.keys.access, _access, by_field=True)
    yield from _times(reader)
    yield from _changes(reader)


def record_finding(reader: Reader, job_id: str, row: Mapping[str, Any], text: str | None) -> Finding | None:
    """Return what is wrong with a job: with its record, result or labels (`row`)."""
    key, fields = reader.keys.member("job", job_id), row["fields"]
    try:
        Job.from_fields(job_id, fields, result=row["result"], labels=row["labels"])
        with decoding("its request"):
            if text is not None and not (is_text(text) and isinstance(json.loads(text), dict)):
                raise ValueError("it is no JSON object in UTF-8")
    except RecordDamaged as error:
        detail = error.why if error.what.startswith("job ") else f"{error.what}: {error.why}"
        remedy = (
            f"Look at HGETALL {key}, the logs and the provider, and HSET the correct values. The service does not act "
            f"on it until then. Or give it up: DEL {key}, then audit --repair; a task at the provider is still paid."
        )
        return Finding(RULE, printable(job_id), detail, remedy)
    if extra := sorted(fields.keys() - NAMES.keys()):
        names = ", ".join(map(printable, extra))
        return Finding(RULE, printable(job_id), f"it has fields that no version writes: {names}", f"HDEL {key} {names}")
    return None


def _hash(reader: Reader, what: str, key: str, check: _Check, *, by_field: bool = False) -> Iterator[Finding]:
    for field, value in reader.fields(key):
        why = check(field, value) if is_text(field) and is_text(value) else "is not UTF-8"
        if why:
            id_ = f"{what} {printable(field)}" if by_field else what
            detail = f"its field {printable(field)} is {printable(value)!r}: {why}"
            remedy = f"HSET {key} '{printable(field)}' to the correct value, or HDEL it; --repair recounts what it can."
            yield Finding(RULE, id_, detail, remedy)


def _whole(_: str, value: str) -> str | None:
    return None if _INTEGER.fullmatch(value) else "no whole number"


def _costs(_: str, value: str) -> str | None:
    return None if _COSTS.fullmatch(value) else f"not up to {PRICES_KEPT} costs in nano-dollars"


def _epoch(field: str, value: str) -> str | None:
    return None if field in _EPOCH_TEXTS else _whole(field, value)


def _finite(value: str) -> str | None:
    try:
        return None if Decimal(value).is_finite() else "no finite number"
    except UNREADABLE:
        return "no number"


def _readable(read: Callable[[str], object], value: str) -> str | None:
    try:
        read(value)
    except UNREADABLE as error:
        return f"cannot be read ({type(error).__name__})"
    except RecordDamaged as error:
        return error.why
    return None


def _batch(field: str, value: str) -> str | None:
    match field:
        case BatchCounter.ENDS:
            return "no columns of ends" if is_damaged(value) else None
        case "labels":
            return _readable(read_labels, value)
        case "asked":
            return _readable(BatchOptions.from_script_json, value)
        case "class" | "do" | "hold":
            wrong, choices = _BATCH_CHOICES[field]
            return None if value in choices else wrong
    if field in _BATCH_TEXTS or field.startswith(BatchCounter.PLACE):
        return None
    known = field in _BATCH_COUNTS or field.startswith(
        (BatchCounter.FAILED, BatchCounter.UNFINISHED, BatchCounter.ENDED)
    )
    return _whole(field, value) if known else "a field that no version writes"


_BATCH_CHOICES: Mapping[str, tuple[str, frozenset[str]]] = {
    "class": ("no class", frozenset({"0", "1", "2"})),
    "do": ("no sweep", frozenset({"cancel", "retry", "commit"})),
    "hold": ("nothing that a batch waits for", frozenset(Hold)),
}
_BATCH_COUNTS = (
    frozenset({"reviewed"})
    | frozenset(map(str, State))
    | frozenset(
        {"accepted", "created", "spent", "gone", "weight", "cap", "pos", "upto", "hits", "many", "clash", "resumed"}
        | {BatchCounter.UNKNOWN_COSTS, "waived", "waived_at"}
        | {BatchCounter.PILOT_LEFT, "pilot", "pilot_size", "pilot_spent", "approved"}
        | {"events", "events_owed", "callback_free"}
    )
)


def _lane(field: str, value: str) -> str | None:
    if field == "limit":
        return _finite(value)
    return None if field in _LANE_TEXTS else _whole(field, value)


def _pool(field: str, value: str) -> str | None:
    return _finite(value) if re.match(r"v[012](\||$)", field) else _whole(field, value)


def _spent(field: str, value: str) -> str | None:
    if field[:1] in {Entry.COST, Entry.RESULTS, Entry.UNKNOWN} and field.count("|") < ENTRY_BARS:
        return "it is not the name of an entry"
    return _whole(field, value)


def _kept(field: str, value: str) -> str | None:
    def read(text: str) -> None:
        about = json.loads(text)
        if not (isinstance(about["object"], str) and isinstance(about["size"], int) and about["hash"] == field):
            raise ValueError(text)

    return _readable(read, value)


def _access(field: str, value: str) -> str | None:
    if field == MIGRATED:
        return _whole(field, value)
    return _readable(lambda text: AccessKey.from_json(field, text), value)


def _times(reader: Reader) -> Iterator[Finding]:
    """Yield times after the year 2286: such an entry would never be due."""
    of, single = reader.keys.member, reader.keys.singleton
    keys = [
        single(name)
        for name in (
            "alarms",
            "event_alarms",
            "doubts",
            "unreadable",
            "undelivered",
            "unknown_costs",
            "at_cap",
            "capped",
            "sweeps",
            "bulks",
            "batch_ends",
            "notices",
            "claimed_notices",
            "batches",
            "going",
        )
    ]
    keys += [of("state", state) for state in State]
    with reader.client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.zrangebyscore(key, f"({_LATEST}", "+inf", 0, _ENTRIES)
        found = reader.ask(pipe)
    for key, members in zip(keys, found, strict=True):
        for member in members or ():
            detail = f"its time in {key} is beyond the year 2286"
            yield Finding(RULE, printable(member), detail, f"ZREM {key} {printable(member)}, then audit --repair.")


def _changes(reader: Reader) -> Iterator[Finding]:
    """Yield damage of the newest entries of the event stream. The service does not depend on them."""
    stream = reader.keys.singleton("changes")
    with reader.client.pipeline(transaction=False) as pipe:
        pipe.xrevrange(stream, count=_ENTRIES)
        (entries,) = reader.ask(pipe)
    for entry, fields in entries or ():
        if not {"id", "state", "from", "created", "model"} <= fields.keys() or not all(map(is_text, fields.values())):
            detail = f"an entry of {stream} lacks a field, or is not UTF-8"
            yield Finding(RULE, f"change {entry}", detail, f"XDEL {stream} {entry}; the service does not depend on it.")
