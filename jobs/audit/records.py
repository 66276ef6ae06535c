"""The audit of records: each is compared with its related data and with the indexes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.audit.damage import record_finding
from jobs.audit.findings import Check, Finding, Reader, whole
from jobs.audit.memberships import Memberships
from jobs.audit.owners import Owners
from jobs.audit.recount import Recount
from jobs.audit.shares import code_of, phase_of
from jobs.decoding import UNREADABLE
from jobs.fields import Field, Payer, is_newer, label, wrong
from jobs.job import Delivery
from jobs.result import Result
from jobs.states import FINAL, State
from jobs.units import duration_micros

#: Rule → what is wrong, and what to do if it is not repaired.
RULES = {
    "alarm": (
        "its alarm is missing, or is set although nothing is left to do",
        "ZADD it for now to {alarms}, or ZREM it.",
    ),
    "index": ("it does not stand in the index of its state, at its creation, alone", "ZADD or ZREM it there."),
    "doubt": (
        "the index of jobs in doubt differs from its record",
        f"ZADD it with its {label(Field.DOUBT_SINCE)}, or ZREM it.",
    ),
    "unreadable": (
        "the index of jobs without a readable answer differs from its record",
        f"ZADD it with its {label(Field.UNREADABLE_SINCE)}, or ZREM it.",
    ),
    "undelivered": (
        "the index of deliveries given up differs from its record",
        f"ZADD it if it has the field {label(Field.UNDELIVERED)}, else ZREM it.",
    ),
    "unknown_cost": (
        "the index of jobs of unknown cost differs from its record",
        f"ZADD it if it has the field {label(Field.UNKNOWN_COST)}, else ZREM it.",
    ),
    "save": (
        "its place in the index or in the queue of results to save is missing, or wrong",
        f"ZADD it with its {label(Field.SAVE_SINCE)} to {{saves}}, or ZREM it.",
    ),
    "unsaved": (
        "the index of results given up differs from its record",
        f"ZADD it if it has the field {label(Field.UNSAVED)}, else ZREM it.",
    ),
    "results": (
        "its results are not saved, are not to be saved and are not given up",
        "boomerang-server save ID.",
    ),
    "window": ("it counts as admitted, but does not wait", f"HDEL its field {label(Field.ADMITTED_BY)}."),
    "reserved": (
        "it has money reserved, though no attempt of it is under way",
        f"HDEL its field {label(Field.RESERVED)}.",
    ),
    "parked": (
        "Celery messages wait for its end, but would not be finished",
        f"Add c to its field {label(Field.OWED_AT_END)}; without a job, DEL them.",
    ),
    "request": ("its request is missing", "Cancel it; it cannot be sent without its request."),
}


#: Index of jobs → the rule that it breaks.
_INDEXES = {
    "alarms": "alarm",
    "doubts": "doubt",
    "unreadable": "unreadable",
    "undelivered": "undelivered",
    "unknown_costs": "unknown_cost",
    "saves": "save",
    "unsaved": "unsaved",
}


class Records:
    """Checks records, adds them to the recount, and sums their costs in `costs` (by batch, '' for all).

    `lease`: of submissions, in seconds.
    """

    def __init__(
        self,
        reader: Reader,
        recount: Recount,
        costs: Counter[str],
        indexes: Sequence[Memberships | Owners],
        lease: float,
    ) -> None:
        self._reader = reader
        self._recount = recount
        self._costs = costs
        self._others = indexes
        self._lease = str(duration_micros(lease))
        #: since when results are saved (announce_saves.lua), in µs; None: they are not
        self._saves_from = whole(reader.value(reader.keys.singleton("totals"), "saves_from")) or None

    def findings(self, ids: Sequence[str]) -> Iterator[Finding]:
        """Yield the suspects among these records."""
        of, single, reader = self._reader.keys.member, self._reader.keys.singleton, self._reader
        with reader.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(of("job", job_id))
                pipe.mget(of("result", job_id), of("text", job_id), of("labels", job_id))
                for index in _INDEXES:
                    pipe.zscore(single(index), job_id)
            answers = reader.ask(pipe)
        width = 2 + len(_INDEXES)
        starts = range(0, width * len(ids), width)
        rows = {job_id: answers[at : at + width] for at, job_id in zip(starts, ids, strict=True) if answers[at]}
        yield from self._set_apart(rows)
        with reader.client.pipeline(transaction=False) as pipe:
            for job_id, (record, *_) in rows.items():
                pipe.zscore(of("state", record[Field.STATE]), job_id)
            places = reader.ask(pipe)
        for others in self._others:
            yield from others.lacking({job_id: record for job_id, (record, *_) in rows.items()})
        for (job_id, (record, (result, text, _), *scores)), indexed in zip(rows.items(), places, strict=True):
            at = dict(zip((*_INDEXES.values(), "index"), (*scores, indexed), strict=True))
            broken = {rule for rule, is_broken in _broken(record, text, at).items() if is_broken}
            if Field.SAVE_SINCE in record:
                broken.add("save")  # the second check reads its queue
            elif self._saves_from and _lacks_saving(record, result, self._saves_from):
                broken.add("results")
            yield from (self._finding(job_id, rule) for rule in sorted(broken))
            if job_id not in self._recount:
                cost = int(record.get(Field.EARLIER_COST, 0)) + (_cost(result) if result else 0)
                self._costs[""] += cost
                if Field.BATCH in record:
                    self._costs[Payer.BATCH + record[Field.BATCH]] += cost
            named = text if Field.NAMES_IMAGES in record else None
            self._recount.enter(job_id, record, code_of(record, result), named)

    def _set_apart(self, rows: dict[str, Any]) -> Iterator[Finding]:
        """Remove from `rows` the records that cannot be compared: those of a later version, and damaged ones."""
        for job_id, (record, (result, text, labels), *_) in list(rows.items()):
            if is_newer(record):
                self._recount.newer = True
                del rows[job_id]
                continue
            row = {"fields": record, "result": result, "labels": labels}
            if found := record_finding(self._reader, job_id, row, text):
                yield found
                if wrong(record):
                    self._recount.enter(job_id, record, "", None)
                    del rows[job_id]

    def index_findings(self) -> Iterator[Finding]:
        """Yield the entries of indexes that have no such record."""
        of, single, reader = self._reader.keys.member, self._reader.keys.singleton, self._reader
        indexes: dict[str, tuple[str, State | None]] = {
            **{single(index): (rule, None) for index, rule in _INDEXES.items()},
            **{of("state", state): ("index", state) for state in State},
        }
        with reader.client.pipeline(transaction=False) as pipe:
            for key in indexes:
                pipe.exists(key)
            there = reader.ask(pipe)
        for key, (rule, state) in (each for each, is_there in zip(indexes.items(), there, strict=True) if is_there):
            for ids in reader.steps(reader.members(key)):
                for job_id, (stored, _) in zip(ids, self._states(ids), strict=True):
                    if stored is None or (state is not None and stored != state):
                        yield self._finding(job_id, rule)

    def parked_findings(self, ids: Sequence[str]) -> Iterator[Finding]:
        """Yield the jobs whose parked Celery messages would not be finished."""
        for job_id, (stored, owed) in zip(ids, self._states(ids), strict=True):
            if stored is None or (stored not in FINAL and Delivery.CELERY not in (owed or "")):
                yield self._finding(job_id, "parked")

    def _states(self, ids: Sequence[str]) -> list[tuple[str | None, str | None]]:
        with self._reader.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hmget(self._reader.keys.member("job", job_id), [Field.STATE, Field.OWED_AT_END])
            rows: list[Any] = self._reader.ask(pipe)
        return [tuple(row) for row in rows]

    def _finding(self, job_id: str, rule: str) -> Finding:
        detail, remedy = RULES[rule]
        check = Check("repair_job", (self._lease, job_id), rule, repairs=rule != "request")
        return Finding(
            rule,
            job_id,
            detail,
            remedy.format(**{name: self._reader.keys.singleton(name) for name in ("alarms", "saves")}),
            check,
        )


def _broken(record: Mapping[str, str], text: str | None, at: Mapping[str, float | None]) -> dict[str, bool]:
    """Return for each rule whether it is broken. `at`: the score of the id in each index."""
    phase = phase_of(record)
    doubt = float(record[Field.DOUBT_SINCE]) if Field.DOUBT_SINCE in record else None
    unreadable = float(record[Field.UNREADABLE_SINCE]) if Field.UNREADABLE_SINCE in record else None
    admitted = Field.ADMITTED_BY in record
    return {
        "alarm": (phase is not None or Field.OWED in record) != (at["alarm"] is not None),
        "index": at["index"] != float(record[Field.CREATED_AT]),
        "doubt": at["doubt"] != doubt,
        "unreadable": at["unreadable"] != unreadable,
        "undelivered": (Field.UNDELIVERED in record) != (at["undelivered"] is not None),
        "unsaved": (Field.UNSAVED in record) != (at["unsaved"] is not None),
        "save": Field.SAVE_SINCE not in record and at["save"] is not None,
        "unknown_cost": (Field.UNKNOWN_COST in record) != (at["unknown_cost"] is not None),
        "window": admitted and record[Field.STATE] != State.QUEUED,
        "reserved": Field.RESERVED in record and not admitted and phase in {None, State.QUEUED},
        "request": not text,
    }


def _lacks_saving(record: Mapping[str, str], result: str | None, since: int) -> bool:
    """Return whether its results may have to be saved. The second check decides (`lacks_saving` in saves.lua)."""
    unsaved = result is not None and '"output"' in result and '"saved"' not in result
    return unsaved and Field.UNSAVED not in record and int(record.get(Field.ENDED_AT, 0)) >= since


def _cost(result: str) -> int:
    try:
        return int(Result.from_json(result).nano or 0)
    except UNREADABLE:
        return 0
