"""Checks the invariants of the store on a live Redis (docs/explanation/guarantees.md, "The invariants").

It reads by cursor, so that nobody waits for it, and other processes go on meanwhile. What looked wrong is therefore
looked at a second time, in one step: one record and what stands beside it by a script (`repair_….lua`), counters by a
recount that is exact although everything moves (jobs.audit.recount). So nothing is found that is only under way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis

from jobs.audit.damage import RULE, damage_findings, record_finding
from jobs.audit.findings import Finding, Look, Reader, whole
from jobs.audit.images import image_findings, size_findings
from jobs.audit.labels import label_findings, lacking
from jobs.audit.queues import entry_findings, pool_findings
from jobs.audit.recount import Recount, code_of
from jobs.audit.spending import ledger_findings, spent_findings
from jobs.connections.errors import translated
from jobs.decoding import UNREADABLE, why
from jobs.errors import RecordDamaged
from jobs.fields import Field, is_newer, label, wrong
from jobs.job import Delivery, Result, duration_micros
from jobs.setting_readers import IN_REDIS
from jobs.states import FINAL, State
from jobs.store.attempts import PUT_BACK
from jobs.store.store import Store

#: What each rule about one record says, and what to do where it is not mended.
RULES = {
    "alarm": ("its alarm is missing, or rings with nothing left to do", "ZADD one for now to {alarms}, or ZREM it."),
    "index": ("the indexes of the states do not have it once, at its creation", "ZADD or ZREM it there."),
    "doubt": (
        "the index of what is in doubt differs from its record",
        f"ZADD it with its {label(Field.DOUBT_SINCE)}, or ZREM it.",
    ),
    "undelivered": (
        "the index of deliveries given up differs from its record",
        f"ZADD it if it has the field {label(Field.UNDELIVERED)}, else ZREM it.",
    ),
    "window": ("counts as admitted, but does not wait", f"HDEL its field {label(Field.ADMITTED_BY)}."),
    "reserved": ("has money reserved, though nothing of it is under way", f"HDEL its field {label(Field.RESERVED)}."),
    "parked": (
        "Celery messages wait for its end, but would not be told",
        f"Add c to its field {label(Field.OWED_AT_END)}; without a job, DEL them.",
    ),
    "request": ("its request is gone", "Cancel it; it cannot be sent without its request."),
}


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, and which counters could not be compared, since too much moved."""

    findings: tuple[Finding, ...]
    unsure: tuple[str, ...]


def audit(store: Store, *, pause: float = 0.0) -> list[Finding]:
    """Every invariant that is broken. Raises `StoreUnavailable`. `pause` in seconds, after each step of a cursor."""
    return list(examine(store, pause=pause).findings)


def examine(store: Store, *, pause: float = 0.0) -> Audit:
    """The same, and what could not be compared."""
    try:
        return _examine(store, Reader(store.context.client, store.context.keys, pause=pause))
    except redis.RedisError as error:
        raise translated(error) from error


def _examine(store: Store, reader: Reader) -> Audit:
    books = Recount(reader, store.context.scripts, putback=PUT_BACK)
    reader.on_step = books.keep_up
    costs = Counter[str]()
    in_redis = store.context.settings.image_store == IN_REDIS
    suspects: list[Finding] = []
    for step in reader.steps(reader.survey({"job", "labels", "parked"})):
        ids: dict[str, list[str]] = {"job": [], "labels": [], "parked": []}
        for family, each in step:
            ids[family].append(each)
        suspects += _records(store, reader, books, costs, ids["job"])
        suspects += lacking(reader, ids["labels"])
        suspects += _parked(store, reader, ids["parked"])
    # Of such jobs it is not known what they count as.
    books.damaged = books.damaged or any(each.rule == RULE for each in suspects)
    books.damaged = books.damaged or any(family in {"job", "text", "result"} for family, *_ in reader.odd.values())
    parts: list[tuple[str, Iterator[Finding]]] = [
        ("indexes", _entries(store, reader)),
        ("queues", entry_findings(reader)),
        ("labels", label_findings(reader)),
        ("images", image_findings(reader, in_redis=in_redis)),
        ("sweeps", _sweeps(reader)),
    ]
    for name, part in parts:
        suspects += _as_far_as_it_goes(name, part)
    found = list(_looked_at_again(store, suspects))
    parts = [
        ("damage", damage_findings(reader)),
        ("size of images", size_findings(reader)),
        ("pools", pool_findings(reader, store.context.scripts)),
        ("counters", books.findings()),
        ("members", _members(reader)),
        ("spent", spent_findings(reader, costs)),
        ("ledger", ledger_findings(reader)),
    ]
    for name, part in parts:
        found += _as_far_as_it_goes(name, part)
    # When an image goes follows from how often it is named.
    off = {each.id for each in found if each.rule == "uses"}
    found = [each for each in found if each.rule != "image" or each.id not in off]
    return Audit(tuple(dict.fromkeys(found)), tuple(sorted(books.unsure)))


def _as_far_as_it_goes(name: str, part: Iterator[Finding]) -> Iterator[Finding]:
    """What a part of the audit finds. Damage that it is not made for ends it, and not the others."""
    try:
        yield from part
    except (*UNREADABLE, RecordDamaged, redis.ResponseError) as error:
        told = translated(error) if isinstance(error, redis.ResponseError) else error
        if isinstance(error, redis.ResponseError) and not isinstance(told, RecordDamaged):
            raise
        detail = f"this part of the audit ended early: {why(told)}"
        yield Finding(RULE, name, detail, "Settle what else is called damaged, then look again.")


def _looked_at_again(store: Store, suspects: Iterable[Finding]) -> Iterator[Finding]:
    """Those that are still so, each place looked at in one step."""
    once = list(dict.fromkeys(suspects))
    looks = list(dict.fromkeys((each.look.verb, each.look.target) for each in once if each.look))
    said: dict[tuple[str, tuple[str, ...]], set[str] | None] = {}
    for start in range(0, len(looks), 100):
        step = looks[start : start + 100]
        answers = store.context.scripts.tries([(verb, "0", *target) for verb, target in step])
        found = (None if isinstance(answer, RecordDamaged) else set(answer) for answer in answers)
        said.update(zip(step, found, strict=True))
    for each in once:
        words = said[each.look.verb, each.look.target] if each.look else None
        if words is None:
            yield replace(each, look=None)  # it could not be looked at again, nor mended
        elif each.look and each.look.word in words:
            yield each


# --- records ----------------------------------------------------------------------------------------------------------


def _about(store: Store, job_id: str, rule: str) -> Finding:
    detail, remedy = RULES[rule]
    lease = str(duration_micros(store.context.settings.submit_lease))
    look = Look("repair_job", (lease, job_id), rule, mends=rule != "request")
    return Finding(rule, job_id, detail, remedy.format(alarms=store.context.keys.singleton("alarms")), look)


def _records(
    store: Store, reader: Reader, books: Recount, costs: Counter[str], ids: Sequence[str]
) -> Iterator[Finding]:
    """Records that look wrong. All are entered into the books, what they cost into `costs` (by batch, '' for all)."""
    of, single = reader.keys.member, reader.keys.singleton
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hgetall(of("job", job_id))
            pipe.mget(of("result", job_id), of("text", job_id), of("labels", job_id))
            for index in ("alarms", "doubts", "undelivered"):
                pipe.zscore(single(index), job_id)
        answers = reader.ask(pipe)
    rows = {job_id: answers[5 * place : 5 * place + 5] for place, job_id in enumerate(ids) if answers[5 * place]}
    yield from _odd(reader, books, rows)
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id, (fields, *_) in rows.items():
            pipe.zscore(of("state", fields[Field.STATE]), job_id)
        places = reader.ask(pipe)
    for (job_id, (fields, (result, text, _), *scores)), indexed in zip(rows.items(), places, strict=True):
        at = dict(zip(("alarm", "doubt", "undelivered", "index"), (*scores, indexed), strict=True))
        broken = {rule for rule, is_wrong in _wrong(fields, text, at).items() if is_wrong}
        yield from (_about(store, job_id, rule) for rule in sorted(broken))
        if job_id not in books and result:
            cost = _cost(result)
            costs[""] += cost
            if Field.BATCH in fields:
                costs["b" + fields[Field.BATCH]] += cost
        books.enter(job_id, fields, code_of(fields, result), text if Field.NAMES_IMAGES in fields else None)


def _odd(reader: Reader, books: Recount, rows: dict[str, Any]) -> Iterator[Finding]:
    """Records that nothing can be compared with are taken out of `rows`: a later version's, and damaged ones."""
    for job_id, (fields, (result, text, labels), *_) in list(rows.items()):
        if is_newer(fields):
            books.newer = True
            del rows[job_id]
        elif found := record_finding(reader, job_id, {"fields": fields, "result": result, "labels": labels}, text):
            yield found
            if wrong(fields):
                books.enter(job_id, fields, "", None)
                del rows[job_id]


def _cost(result: str) -> int:
    try:
        return int(Result.from_json(result).nano or 0)
    except UNREADABLE:
        return 0


def _wrong(fields: dict[str, str], text: str | None, at: dict[str, float | None]) -> dict[str, bool]:
    """By rule. `at`: where its id stands, by index."""
    phase = fields.get(Field.PHASE) if fields[Field.STATE] in FINAL else fields[Field.STATE]
    return {
        "alarm": (phase is not None or Field.OWED in fields) != (at["alarm"] is not None),
        "index": at["index"] != float(fields[Field.CREATED_AT]),
        "doubt": at["doubt"] != (float(fields[Field.DOUBT_SINCE]) if Field.DOUBT_SINCE in fields else None),
        "undelivered": (Field.UNDELIVERED in fields) != (at["undelivered"] is not None),
        "window": Field.ADMITTED_BY in fields and fields[Field.STATE] != State.QUEUED,
        "reserved": Field.RESERVED in fields and Field.ADMITTED_BY not in fields and phase in {None, State.QUEUED},
        "request": not text,
    }


def _entries(store: Store, reader: Reader) -> Iterator[Finding]:
    """What points to records."""
    of, single = reader.keys.member, reader.keys.singleton
    indexes: dict[str, tuple[str, State | None]] = {
        single("alarms"): ("alarm", None),
        single("doubts"): ("doubt", None),
        single("undelivered"): ("undelivered", None),
        **{of("state", state): ("index", state) for state in State},
    }
    with reader.client.pipeline(transaction=False) as pipe:
        for key in indexes:
            pipe.exists(key)
        there = reader.ask(pipe)
    for key, (rule, state) in (each for each, is_there in zip(indexes.items(), there, strict=True) if is_there):
        for ids in reader.steps(reader.members(key)):
            for job_id, (stands, _) in zip(ids, _states(reader, ids), strict=True):
                if stands is None or (state is not None and stands != state):
                    yield _about(store, job_id, rule)


def _parked(store: Store, reader: Reader, ids: Sequence[str]) -> Iterator[Finding]:
    for job_id, (stands, owed) in zip(ids, _states(reader, ids), strict=True):
        if stands is None or (stands not in FINAL and Delivery.CELERY not in (owed or "")):
            yield _about(store, job_id, "parked")


def _states(reader: Reader, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hmget(reader.keys.member("job", job_id), [Field.STATE, Field.OWED_AT_END])
        rows: list[Any] = reader.ask(pipe)
    return [tuple(row) for row in rows]


# --- batches ----------------------------------------------------------------------------------------------------------


def _sweeps(reader: Reader) -> Iterator[Finding]:
    sweeps = reader.keys.singleton("sweeps")
    sweeping = set(reader.members(sweeps))
    for batches in reader.steps(sorted({*reader.names["batch"], *sweeping})):
        with reader.client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.hexists(reader.keys.member("batch", batch), "do")
            begun = reader.ask(pipe)
        for batch in (batch for batch, is_begun in zip(batches, begun, strict=True) if is_begun != (batch in sweeping)):
            detail = "a cancel or retry of it is begun, but not under way, or the other way round"
            remedy = f"ZADD {sweeps} 0 {batch}: what is left is then done."
            yield Finding("sweep", batch, detail, remedy, Look("repair_sweep", (batch,), "sweep"))
            detail = "something was begun with all its jobs, but it is not written down what"
            remedy = f"HDEL {reader.keys.member('batch', batch)} do; then cancel or retry it again."
            yield Finding("sweep", batch, detail, remedy, Look("repair_sweep", (batch,), "broken", mends=False))


def _members(reader: Reader) -> Iterator[Finding]:
    """The list of a batch's jobs, against how many were accepted: both at one moment."""
    of = reader.keys.member
    for batches in reader.steps(sorted(reader.names["batch"])):
        with reader.client.pipeline(transaction=True) as pipe:
            for batch in batches:
                pipe.hmget(of("batch", batch), ["created", "accepted"])
                pipe.llen(of("members", batch))
            answers = reader.ask(pipe)
        for batch, (created, accepted), listed in zip(batches, answers[::2], answers[1::2], strict=True):
            if created and listed != whole(accepted):
                detail = f"it lists {listed - whole(accepted):+d} jobs against those accepted"
                remedy = (
                    "What is missing in the list is left out of its results, of a cancel and of a retry of it all: "
                )
                yield Finding("members", batch, detail, remedy + "name such jobs one by one.")
