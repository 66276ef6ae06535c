"""Checks on a live Redis that what the design promises of the store holds (DESIGN, "Invariants").

It reads by cursor, so that nobody waits for it, and other processes go on meanwhile. What looked wrong is therefore
looked at a second time: a job that was caught in the middle of a move is right by then, a broken one is still broken.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from jobs.audit_images import image_findings
from jobs.audit_labels import label_findings
from jobs.audit_money import Money
from jobs.audit_queues import queue_findings
from jobs.findings import CHUNK, Finding, chunks, ids_of
from jobs.keys import Keys
from jobs.record import LANE, Owed, Result
from jobs.scripts import translated
from jobs.settings import IN_REDIS
from jobs.states import FINAL, HOLDS_SLOTS, State
from jobs.store import Store

#: Bytes of an error code that a batch counts by; longer ones are counted together.
LONGEST_CODE = 64


@dataclass(slots=True)
class _Sums:
    """What the counters should say. Money in nano-dollars."""

    slots: Counter[str] = field(default_factory=Counter)
    window: Counter[str] = field(default_factory=Counter)
    spent: int = 0
    batches: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    spent_by_batch: Counter[str] = field(default_factory=Counter)
    money: Money = field(default_factory=Money)
    codes_by_batch: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def audit(store: Store) -> list[Finding]:
    """Every invariant that is broken now, and still was at a second look. Raises `StoreUnavailable`.

    On a busy system counters and their recount are never of the same moment: only a difference that stays the same is
    reported, so a small leak may need a quiet minute to show.
    """
    audits = _Audit(*store.access, images_in_redis=store.settings.image_store == IN_REDIS)
    try:
        found = list(audits.findings())
        if not found:
            return []
        again = set(audits.findings())
    except redis.RedisError as error:
        raise translated(error) from error
    return [finding for finding in found if finding in again]


class _Audit:
    def __init__(self, client: redis.Redis, keys: Keys, *, images_in_redis: bool) -> None:
        self._client = client
        self._keys = keys
        self._images_in_redis = images_in_redis

    def findings(self) -> Iterator[Finding]:
        sums = _Sums()
        yield from self._jobs(sums)
        yield from self._entries()
        yield from self._parked()
        yield from queue_findings(self._client, self._keys)
        yield from label_findings(self._client, self._keys)
        yield from image_findings(self._client, self._keys, in_redis=self._images_in_redis)
        yield from self._sweeps()
        yield from self._batches(sums)
        yield from self._lanes(sums)
        yield from sums.money.findings(self._client, self._keys)

    # --- records ----------------------------------------------------------------------------------------------------

    def _jobs(self, sums: _Sums) -> Iterator[Finding]:
        of, single = self._keys.of, self._keys.single
        for ids in chunks(ids_of(self._client, self._keys, "job")):
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hgetall(of("job", job_id))
                    pipe.zscore(single("alarms"), job_id)
                    pipe.get(of("result", job_id))
                    pipe.exists(of("text", job_id))
                    pipe.zscore(single("doubts"), job_id)
                    pipe.zscore(single("undelivered"), job_id)
                    for state in State:
                        pipe.zscore(of("state", state), job_id)
                answers = pipe.execute()
            width = 6 + len(State)
            for place, job_id in enumerate(ids):
                fields, alarm, result, text, doubt, undelivered, *scores = answers[place * width : (place + 1) * width]
                if not fields:
                    continue
                yield from _alarm(job_id, fields, alarm)
                yield from _dead_ends(job_id, fields, doubt, undelivered)
                yield from _admitted(job_id, fields)
                yield from sums.money.add(job_id, fields)
                yield from _index(job_id, fields, dict(zip(State, scores, strict=True)))
                if not text:
                    yield Finding(
                        "request", job_id, "its request is gone", "Cancel it; it cannot be sent without its request."
                    )
                _add(sums, fields, result)

    # --- entries that point to records ------------------------------------------------------------------------------

    def _entries(self) -> Iterator[Finding]:
        of, single = self._keys.of, self._keys.single
        indexes = {"alarm": single("alarms")} | {f"index {state}": of("state", state) for state in State}
        for name, key in indexes.items():
            for ids in chunks(str(member) for member, _ in self._client.zscan_iter(key, count=CHUNK)):
                with self._client.pipeline(transaction=False) as pipe:
                    for job_id in ids:
                        pipe.hget(of("job", job_id), "s")
                    states = pipe.execute()
                for job_id, state in zip(ids, states, strict=True):
                    if state is None:
                        detail = f"stands in {key}, but there is no such job"
                        yield Finding(name.partition(" ")[0], job_id, detail, f"ZREM {key} {job_id}")

    def _parked(self) -> Iterator[Finding]:
        """Celery messages that wait for a job's end: it must be there, and must owe it to them."""
        of = self._keys.of
        for ids in chunks(ids_of(self._client, self._keys, "parked")):
            with self._client.pipeline(transaction=False) as pipe:
                for job_id in ids:
                    pipe.hmget(of("job", job_id), ["s", "o"])
                records = pipe.execute()
            for job_id, (state, owed) in zip(ids, records, strict=True):
                if state is None:
                    key = of("parked", job_id)
                    yield Finding("parked", job_id, "Celery messages wait, but there is no such job", f"DEL {key}")
                elif state not in FINAL and Owed.CELERY not in (owed or ""):
                    detail = "Celery messages wait for its end, but it would not be told to them"
                    yield Finding("parked", job_id, detail, f"Add {Owed.CELERY} to its field o.")

    def _sweeps(self) -> Iterator[Finding]:
        sweeps = self._keys.single("sweeps")
        sweeping = {str(batch) for batch, _ in self._client.zscan_iter(sweeps)}
        for batch in {*ids_of(self._client, self._keys, "batch"), *sweeping}:
            if self._client.hexists(self._keys.of("batch", batch), "do") != (batch in sweeping):
                detail = "a cancel or retry of it is begun, but not under way, or the other way round"
                yield Finding("sweep", batch, detail, f"ZADD {sweeps} 0 {batch}: what is left is then done.")

    # --- counters ---------------------------------------------------------------------------------------------------

    def _batches(self, sums: _Sums) -> Iterator[Finding]:
        of = self._keys.of
        for batch_id in {*ids_of(self._client, self._keys, "batch"), *sums.batches}:
            fields: Any = self._client.hgetall(of("batch", batch_id))
            counts = Counter({state.value: int(fields.get(state, 0)) for state in State})
            accepted, gone = int(fields.get("accepted", 0)), int(fields.get("gone", 0))
            recount = sums.batches.get(batch_id, Counter())
            remedy = f"Correct the counters in {of('batch', batch_id)} by their difference."
            if (total := counts.total()) != accepted:
                yield Finding(
                    "batch", batch_id, f"accepted differs from the sum over states by {accepted - total}", remedy
                )
            # Jobs that were forgotten after their retention stay counted in the state in which they ended.
            forgotten = counts - recount
            over = {state: recount[state] - counts[state] for state in State if recount[state] > counts[state]}
            open_ones = {state: forgotten[state] for state in State if state not in FINAL and forgotten[state]}
            if over or open_ones or forgotten.total() - sum(over.values()) != gone:
                differences = ", ".join(
                    f"{state} {counts[state] - recount[state]:+d}" for state in State if counts[state] != recount[state]
                )
                detail = f"counters against a recount: {differences or 'equal'}; {gone} forgotten since"
                yield Finding("batch", batch_id, detail, remedy)
            told = Counter({name[2:]: int(number) for name, number in fields.items() if name.startswith("x:")})
            if told != sums.codes_by_batch[batch_id]:
                detail = f"failed jobs by code: counts {dict(told)}, recount {dict(sums.codes_by_batch[batch_id])}"
                yield Finding("codes", batch_id, detail, f"Correct the fields x:… in {of('batch', batch_id)}.")
            members = self._client.llen(of("members", batch_id))
            if members != accepted:
                yield Finding(
                    "members", batch_id, f"it lists {members - accepted:+d} jobs against those accepted", remedy
                )
            if (short := sums.spent_by_batch[batch_id] - int(fields.get("spent", 0))) > 0:
                yield Finding("spent", batch_id, f"its results cost {short} nano-dollars more than it counted", remedy)

    def _lanes(self, sums: _Sums) -> Iterator[Finding]:
        for lane in {*ids_of(self._client, self._keys, "lane"), *sums.slots, *sums.window}:
            key = self._keys.of("lane", lane)
            fields: Any = self._client.hgetall(key)
            for name, should in (("slots", sums.slots[lane]), ("window", sums.window[lane])):
                if over := int(fields.get(name, 0)) - should:
                    yield Finding(
                        name, f"lane {lane}", f"differs from its recount by {over:+d}", f"HINCRBY {key} {name} {-over}"
                    )
        # What a retry replaced and what was forgotten stays spent, so the ledger may only be larger.
        key = self._keys.single("totals")
        if (short := sums.spent - int(self._client.hget(key, "spent") or 0)) > 0:
            detail = f"stored results cost {short} nano-dollars more than were counted"
            yield Finding("spent", "all", detail, f"HINCRBY {key} spent {short}")


def _phase(fields: dict[str, str]) -> str | None:
    return fields.get("p") if fields["s"] in FINAL else fields["s"]


def _alarm(job_id: str, fields: dict[str, str], alarm: float | None) -> Iterator[Finding]:
    needed = _phase(fields) is not None or "g" in fields
    if needed and alarm is None:
        left = "a delivery" if fields["s"] in FINAL and "g" in fields else "the provider"
        detail = f"{fields['s']} with something left to do ({left}), but without an alarm"
        yield Finding("alarm", job_id, detail, "ZADD an alarm for now: reconcile then does what is left.")
    if not needed and alarm is not None:
        yield Finding("alarm", job_id, f"{fields['s']} with nothing left to do, but with an alarm", "ZREM the alarm.")


def _dead_ends(
    job_id: str, fields: dict[str, str], doubt: float | None, undelivered: float | None
) -> Iterator[Finding]:
    if (None if doubt is None else f"{doubt:.0f}") != fields.get("x"):
        yield Finding("doubt", job_id, "the index of what is in doubt differs from its record", "ZADD it with its x.")
    if (undelivered is None) == ("U" in fields):
        detail = "the index of deliveries that were given up differs from its record"
        yield Finding("undelivered", job_id, detail, "ZADD it there if it has a field U, else ZREM it.")


def _admitted(job_id: str, fields: dict[str, str]) -> Iterator[Finding]:
    if "w" in fields and fields["s"] != State.QUEUED:
        yield Finding("window", job_id, f"counts as admitted, but is {fields['s']}", "HDEL its field w.")


def _index(job_id: str, fields: dict[str, str], scores: dict[State, float | None]) -> Iterator[Finding]:
    for state, score in scores.items():
        belongs = fields["s"] == state
        if belongs and score != float(fields["c"]):
            detail = f"is {state}, but the index of that state has " + (
                "not got it" if score is None else "another time"
            )
            yield Finding("index", job_id, detail, "ZADD it to the index with its time of creation.")
        if score is not None and not belongs:
            yield Finding("index", job_id, f"stands in the index of {state}, but is {fields['s']}", "ZREM it there.")


def _add(sums: _Sums, fields: dict[str, str], result: str | None) -> None:
    images = int(fields.get("n", 1))
    batch = fields.get("b")
    if _phase(fields) in HOLDS_SLOTS:
        sums.slots[fields.get("L", LANE)] += images
    if "w" in fields:
        sums.window[fields["w"]] += images
    ended = Result.from_json(result) if result else Result()
    cost = int(ended.nano or 0)
    sums.spent += cost
    if batch is not None:
        sums.batches[batch][fields["s"]] += 1
        sums.spent_by_batch[batch] += cost
        if fields["s"] == State.FAILED:
            code = (ended.error or {}).get("code", "")
            sums.codes_by_batch[batch][code if len(code.encode()) <= LONGEST_CODE else ""] += 1
