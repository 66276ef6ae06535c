"""Checks on a live Redis that what the design promises of the store holds (docs/guarantees.md, "The invariants").

It reads by cursor, so that nobody waits for it, and other processes go on meanwhile. What looked wrong is therefore
looked at a second time, in one step: one record and what stands beside it by a script (`mend_….lua`), counters by a
recount that is exact although everything moves (jobs.books). So nothing is found that is only under way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs.audit_images import image_findings, size_findings
from jobs.audit_labels import label_findings, lacking
from jobs.audit_money import ledger_findings, spent_findings
from jobs.audit_queues import entry_findings, pool_findings
from jobs.books import Books, code_of
from jobs.findings import Finding, Look, Reader
from jobs.record import VERSION, Owed, Result, us
from jobs.scripts import translated
from jobs.setting_readers import IN_REDIS
from jobs.states import FINAL, State
from jobs.store import PUT_BACK, Store

#: What each rule about one record says, and what to do where it is not mended.
RULES = {
    "alarm": ("its alarm is missing, or rings with nothing left to do", "ZADD one for now to {alarms}, or ZREM it."),
    "index": ("the indexes of the states do not have it once, at its creation", "ZADD or ZREM it there."),
    "doubt": ("the index of what is in doubt differs from its record", "ZADD it with its x, or ZREM it."),
    "undelivered": ("the index of deliveries given up differs from its record", "ZADD or ZREM it, as U says."),
    "window": ("counts as admitted, but does not wait", "HDEL its field w."),
    "reserved": ("has money reserved, though nothing of it is under way", "HDEL its field R."),
    "parked": (
        "Celery messages wait for its end, but would not be told",
        "Add c to its field o; without a job, DEL them.",
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
        return _examine(store, Reader(*store.access, pause=pause))
    except redis.RedisError as error:
        raise translated(error) from error


def _examine(store: Store, reader: Reader) -> Audit:
    books = Books(reader, store.scripts, putback=PUT_BACK)
    reader.on_step = books.keep_up
    costs = Counter[str]()
    in_redis = store.settings.image_store == IN_REDIS
    suspects: list[Finding] = []
    for step in reader.steps(reader.survey({"job", "labels", "parked"})):
        ids: dict[str, list[str]] = {"job": [], "labels": [], "parked": []}
        for family, each in step:
            ids[family].append(each)
        suspects += _records(store, reader, books, costs, ids["job"])
        suspects += lacking(reader, ids["labels"])
        suspects += _parked(store, reader, ids["parked"])
    suspects += [
        *_entries(store, reader),
        *entry_findings(reader),
        *label_findings(reader),
        *image_findings(reader, in_redis=in_redis),
        *_sweeps(reader),
    ]
    found = [*size_findings(reader), *_looked_at_again(store, suspects), *pool_findings(reader, store.scripts)]
    found += [*books.findings(), *_members(reader), *spent_findings(reader, costs), *ledger_findings(reader)]
    # When an image goes follows from how often it is named.
    off = {each.id for each in found if each.rule == "uses"}
    found = [each for each in found if each.rule != "image" or each.id not in off]
    return Audit(tuple(dict.fromkeys(found)), tuple(sorted(books.unsure)))


def _looked_at_again(store: Store, suspects: Iterable[Finding]) -> Iterator[Finding]:
    """Those that are still so, each place looked at in one step."""
    once = list(dict.fromkeys(suspects))
    looks = list(dict.fromkeys((each.look.verb, each.look.target) for each in once if each.look))
    said: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for start in range(0, len(looks), 100):
        step = looks[start : start + 100]
        answers = store.scripts.calls([(verb, "0", *target) for verb, target in step])
        said.update(zip(step, map(set, answers), strict=True))
    yield from (each for each in once if each.look and each.look.word in said[each.look.verb, each.look.target])


# --- records ----------------------------------------------------------------------------------------------------------


def _about(store: Store, job_id: str, rule: str) -> Finding:
    detail, remedy = RULES[rule]
    lease = str(us(store.settings.submit_lease))
    look = Look("mend_job", (lease, job_id), rule, mends=rule != "request")
    return Finding(rule, job_id, detail, remedy.format(alarms=store.access[1].single("alarms")), look)


def _records(store: Store, reader: Reader, books: Books, costs: Counter[str], ids: Sequence[str]) -> Iterator[Finding]:
    """Records that look wrong. All are entered into the books, what they cost into `costs` (by batch, '' for all)."""
    of, single = reader.keys.of, reader.keys.single
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hgetall(of("job", job_id))
            pipe.mget(of("result", job_id), of("text", job_id))
            for index in ("alarms", "doubts", "undelivered"):
                pipe.zscore(single(index), job_id)
        answers = pipe.execute()
    rows = {job_id: answers[5 * place : 5 * place + 5] for place, job_id in enumerate(ids) if answers[5 * place]}
    newer = {job_id for job_id, (fields, *_) in rows.items() if int(fields.get("Z", VERSION)) > VERSION}
    books.newer = books.newer or bool(newer)
    rows = {job_id: row for job_id, row in rows.items() if job_id not in newer}
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id, (fields, *_) in rows.items():
            pipe.zscore(of("state", fields["s"]), job_id)
        places = pipe.execute()
    for (job_id, (fields, (result, text), *scores)), indexed in zip(rows.items(), places, strict=True):
        at = dict(zip(("alarm", "doubt", "undelivered", "index"), (*scores, indexed), strict=True))
        wrong = {rule for rule, is_wrong in _wrong(fields, text, at).items() if is_wrong}
        yield from (_about(store, job_id, rule) for rule in sorted(wrong))
        if job_id not in books and result:
            cost = int(Result.from_json(result).nano or 0)
            costs[""] += cost
            if "b" in fields:
                costs["b" + fields["b"]] += cost
        books.enter(job_id, fields, code_of(fields, result), text if "I" in fields else None)


def _wrong(fields: dict[str, str], text: str | None, at: dict[str, float | None]) -> dict[str, bool]:
    """By rule. `at`: where its id stands, by index."""
    phase = fields.get("p") if fields["s"] in FINAL else fields["s"]
    return {
        "alarm": (phase is not None or "g" in fields) != (at["alarm"] is not None),
        "index": at["index"] != float(fields["c"]),
        "doubt": at["doubt"] != (float(fields["x"]) if "x" in fields else None),
        "undelivered": ("U" in fields) != (at["undelivered"] is not None),
        "window": "w" in fields and fields["s"] != State.QUEUED,
        "reserved": "R" in fields and "w" not in fields and phase in {None, State.QUEUED},
        "request": not text,
    }


def _entries(store: Store, reader: Reader) -> Iterator[Finding]:
    """What points to records."""
    of, single = reader.keys.of, reader.keys.single
    indexes: dict[str, tuple[str, State | None]] = {
        single("alarms"): ("alarm", None),
        single("doubts"): ("doubt", None),
        single("undelivered"): ("undelivered", None),
        **{of("state", state): ("index", state) for state in State},
    }
    with reader.client.pipeline(transaction=False) as pipe:
        for key in indexes:
            pipe.exists(key)
        there = pipe.execute()
    for key, (rule, state) in (each for each, is_there in zip(indexes.items(), there, strict=True) if is_there):
        for ids in reader.steps(reader.members(key)):
            for job_id, (stands, _) in zip(ids, _states(reader, ids), strict=True):
                if stands is None or (state is not None and stands != state):
                    yield _about(store, job_id, rule)


def _parked(store: Store, reader: Reader, ids: Sequence[str]) -> Iterator[Finding]:
    for job_id, (stands, owed) in zip(ids, _states(reader, ids), strict=True):
        if stands is None or (stands not in FINAL and Owed.CELERY not in (owed or "")):
            yield _about(store, job_id, "parked")


def _states(reader: Reader, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
    with reader.client.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hmget(reader.keys.of("job", job_id), ["s", "o"])
        rows: list[Any] = pipe.execute()
    return [tuple(row) for row in rows]


# --- batches ----------------------------------------------------------------------------------------------------------


def _sweeps(reader: Reader) -> Iterator[Finding]:
    sweeps = reader.keys.single("sweeps")
    sweeping = set(reader.members(sweeps))
    for batches in reader.steps(sorted({*reader.names["batch"], *sweeping})):
        with reader.client.pipeline(transaction=False) as pipe:
            for batch in batches:
                pipe.hexists(reader.keys.of("batch", batch), "do")
            begun = pipe.execute()
        for batch in (batch for batch, is_begun in zip(batches, begun, strict=True) if is_begun != (batch in sweeping)):
            detail = "a cancel or retry of it is begun, but not under way, or the other way round"
            remedy = f"ZADD {sweeps} 0 {batch}: what is left is then done."
            yield Finding("sweep", batch, detail, remedy, Look("mend_sweep", (batch,), "sweep"))
            detail = "something was begun with all its jobs, but it is not written down what"
            remedy = f"HDEL {reader.keys.of('batch', batch)} do; then cancel or retry it again."
            yield Finding("sweep", batch, detail, remedy, Look("mend_sweep", (batch,), "broken", mends=False))


def _members(reader: Reader) -> Iterator[Finding]:
    """The list of a batch's jobs, against how many were accepted: both at one moment."""
    of = reader.keys.of
    for batches in reader.steps(sorted(reader.names["batch"])):
        with reader.client.pipeline(transaction=True) as pipe:
            for batch in batches:
                pipe.hmget(of("batch", batch), ["created", "accepted"])
                pipe.llen(of("members", batch))
            answers = pipe.execute()
        for batch, (created, accepted), listed in zip(batches, answers[::2], answers[1::2], strict=True):
            if created and listed != int(accepted or 0):
                detail = f"it lists {listed - int(accepted or 0):+d} jobs against those accepted"
                remedy = (
                    "What is missing in the list is left out of its results, of a cancel and of a retry of it all: "
                )
                yield Finding("members", batch, detail, remedy + "name such jobs one by one.")
