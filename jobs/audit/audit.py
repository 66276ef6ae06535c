"""Checks the invariants of the store on a running system (docs/guarantees.md, "The invariants").

The audit reads by cursor, so that it blocks nothing and other processes continue. It therefore checks each suspect
again, in one step: a record and its related data by a script (`repair_….lua`), counters by a recount that is exact
although jobs change (jobs.audit.recount). So it does not report changes that are under way.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import redis

from jobs.audit.batches import event_findings, member_findings, sweep_findings
from jobs.audit.bulks import bulk_findings
from jobs.audit.damage import RULE, damage_findings
from jobs.audit.findings import Finding, Reader
from jobs.audit.images import image_findings, size_findings
from jobs.audit.labels import label_findings, lacking
from jobs.audit.memberships import Memberships
from jobs.audit.owners import Owners
from jobs.audit.queues import entry_findings, pool_findings
from jobs.audit.records import Records
from jobs.audit.recount import Recount
from jobs.audit.reviews import mark_findings, review_findings
from jobs.audit.spending import ledger_findings, spent_findings
from jobs.connections.errors import translate_errors, translated
from jobs.decoding import UNREADABLE, why
from jobs.errors import RecordDamaged
from jobs.setting_readers import IN_REDIS
from jobs.store.attempts import PUT_BACK
from jobs.store.store import Store

#: Findings that are checked again in one round trip.
_STEP = 100


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings, and which counters could not be compared because too many jobs changed."""

    findings: tuple[Finding, ...]
    unsure: tuple[str, ...]


def audit(store: Store, *, pause: float = 0.0) -> list[Finding]:
    """Return every invariant that is broken. `pause`: seconds after each step. Raises `StoreUnavailable`."""
    return list(examine(store, pause=pause).findings)


def examine(store: Store, *, pause: float = 0.0) -> Audit:
    """Return what `audit` does, and what could not be compared."""
    with translate_errors():
        return _examine(store, Reader(store.context.client, store.context.keys, pause=pause))


def _examine(store: Store, reader: Reader) -> Audit:
    settings = store.context.settings
    recount = Recount(reader, store.context.scripts, putback=PUT_BACK, retention=settings.retention)
    reader.on_step = recount.keep_up
    costs = Counter[str]()
    memberships, owners = Memberships(reader), Owners(reader)
    records = Records(reader, recount, costs, (memberships, owners), settings.submit_lease)
    suspects: list[Finding] = []
    for step in reader.steps(reader.survey({"job", "labels", "parked", "reviews"})):
        ids: dict[str, list[str]] = {"job": [], "labels": [], "parked": [], "reviews": []}
        for family, each in step:
            ids[family].append(each)
        suspects += records.findings(ids["job"])
        suspects += lacking(reader, ids["labels"])
        suspects += records.parked_findings(ids["parked"])
        suspects += review_findings(ids["reviews"])
    # With damaged records the correct counts are unknown.
    recount.damaged = recount.damaged or any(each.rule == RULE for each in suspects)
    recount.damaged = recount.damaged or any(
        family in {"job", "text", "result"} for family, *_ in reader.misplaced.values()
    )
    parts: list[tuple[str, Iterator[Finding]]] = [
        ("indexes", records.index_findings()),
        ("queues", entry_findings(reader)),
        ("labels", label_findings(reader)),
        ("reviews", mark_findings(reader)),
        ("images", image_findings(reader, in_redis=settings.image_store == IN_REDIS)),
        ("sweeps", sweep_findings(reader)),
        ("bulk actions", bulk_findings(reader)),
        ("events", event_findings(reader)),
        ("memberships", memberships.findings()),
        ("owners", owners.batch_findings()),
    ]
    for name, part in parts:
        suspects += _until_damage(name, part)
    found = list(_checked_again(store, suspects))
    parts = [
        ("damage", damage_findings(reader)),
        ("size of images", size_findings(reader)),
        ("pools", pool_findings(reader, store.context.scripts)),
        ("counters", recount.findings()),
        ("members", member_findings(reader)),
        ("spent", spent_findings(reader, costs)),
        ("ledger", ledger_findings(reader)),
    ]
    for name, part in parts:
        found += _until_damage(name, part)
    # The time of removal of an image follows from its uses: if those are wrong, report only them.
    off = {each.id for each in found if each.rule == "uses"}
    found = [each for each in found if each.rule != "image" or each.id not in off]
    return Audit(tuple(dict.fromkeys(found)), tuple(sorted(recount.unsure)))


def _until_damage(name: str, part: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings of one part of the audit. Damage that it cannot handle ends only this part."""
    try:
        yield from part
    except (*UNREADABLE, RecordDamaged, redis.ResponseError) as error:
        cause = translated(error) if isinstance(error, redis.ResponseError) else error
        if isinstance(error, redis.ResponseError) and not isinstance(cause, RecordDamaged):
            raise
        detail = f"this part of the audit ended early: {why(cause)}"
        yield Finding(RULE, name, detail, "Repair the other damage that is reported, then run the audit again.")


def _checked_again(store: Store, suspects: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings that a second check confirms, each in one step."""
    once = list(dict.fromkeys(suspects))
    checks = list(dict.fromkeys((each.check.verb, each.check.target) for each in once if each.check))
    answers: dict[tuple[str, tuple[str, ...]], set[str] | None] = {}
    for start in range(0, len(checks), _STEP):
        step = checks[start : start + _STEP]
        found = store.context.scripts.call_each([(verb, "0", *target) for verb, target in step])
        rules = (None if isinstance(answer, RecordDamaged) else set(answer) for answer in found)
        answers.update(zip(step, rules, strict=True))
    for each in once:
        rules_there = answers[each.check.verb, each.check.target] if each.check else None
        if rules_there is None:
            yield replace(each, check=None)  # it could not be checked again, so it cannot be repaired
        elif each.check and each.check.answer in rules_there:
            yield each
