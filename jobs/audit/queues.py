"""The audit of queues: their jobs, whether they take part in admission, and their weights."""

import json
from collections import defaultdict
from collections.abc import Iterator

from jobs.audit.findings import Check, Finding, Reader
from jobs.errors import RecordDamaged
from jobs.fields import Field, Payer, is_newer, printable, wrong
from jobs.states import State
from jobs.store.scripts import Scripts

#: Parts of the name of an owner's set (jobs.store.redis_keys) after the pool: class and owner.
OF_OWNER = 2


def entry_findings(reader: Reader) -> Iterator[Finding]:
    """Yield the jobs that are in a queue, but seem not to wait there."""
    for queue in _queues(reader):
        yield from _entries(reader, queue)


def pool_findings(reader: Reader, scripts: Scripts) -> Iterator[Finding]:
    """Yield the queues that wrongly take part in admission, or do not, and wrong counters of pools."""
    of_pool: dict[str, list[str]] = defaultdict(list)
    for queue in sorted(_queues(reader)):
        of_pool[queue.partition("|")[0]].append(queue)
    owners: dict[str, list[str]] = defaultdict(list)
    for name in sorted(reader.names["queues"]):
        pool, *rest = name.split("|", 2)
        if len(rest) == OF_OWNER:
            owners[pool].append(rest[-1])
    pools = sorted({*reader.names["pool"], *of_pool, *owners})
    targets = [(pool, json.dumps(owners[pool]), *of_pool[pool]) for pool in pools]
    answers = scripts.call_each([("repair_pool", "0", *target) for target in targets]) if targets else []
    for target, problems in zip(targets, answers, strict=True):
        pool, key = target[0], reader.keys.member("pool", target[0])
        if isinstance(problems, RecordDamaged):
            detail = f"its queues cannot be compared: {problems.why}"
            yield Finding(
                "damaged",
                f"pool {printable(pool)}",
                detail,
                "Repair the other damage that is reported, then run the audit again.",
            )
            continue
        for problem in map(str, problems):
            rule, _, what = problem.partition(" ")
            check = Check("repair_pool", target, problem)
            if rule == "queue":
                detail = f"its queue {what} takes part in admission without jobs that wait, or the other way round"
                remedy = "Pause the batch and resume it; or enqueue a job to it."
                yield Finding(rule, what.split("|", 2)[-1][1:], detail, remedy, check)
            elif rule == "key":
                owner = f"the key {printable(what)}" if what else "what has no key"
                detail = f"{owner} takes part in admission without queues that wait, or the other way round"
                yield Finding(rule, f"pool {pool}", detail, "Enqueue a job of it.", check)
            else:
                name, _, over = what.rpartition(" ")
                detail = f"{name or 'the number of jobs that wait'} differs from its recount by {over}"
                remedy = f"HINCRBY {key} '{name or rule}' {-int(over)}"
                yield Finding(rule, f"pool {pool}", detail, remedy, check)


def _queues(reader: Reader) -> set[str]:
    """Return the queues in which jobs wait, and those that take part in admission."""
    # The members of a pool's own set are owners. Its name has no `|`.
    sets = [name for name in reader.names["queues"] if "|" in name]
    return reader.names["ready"].union(*(reader.members(reader.keys.member("queues", name)) for name in sets))


def _entries(reader: Reader, queue: str) -> Iterator[Finding]:
    key = reader.keys.member("ready", queue)
    for ids in reader.steps(reader.members(key)):
        with reader.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(reader.keys.member("job", job_id))
            records = reader.ask(pipe)
        for job_id, fields in zip(ids, records, strict=True):
            if why := _why_not(fields, queue):
                remedy = f"ZREM {key} {job_id}; its alarm puts it into the right queue."
                check = Check("repair_queue", (queue, job_id), "queue")
                yield Finding("queue", job_id, f"waits for admission, but {why}", remedy, check)


def _why_not(fields: dict[str, str], queue: str) -> str:
    """Return why a job does not wait in a queue; '' if it does, or if that is unknown."""
    if not fields:
        return "there is no such job"
    if is_newer(fields) or wrong(fields):
        return ""
    if fields[Field.STATE] != State.QUEUED:
        return f"it is {fields[Field.STATE]}"
    if Field.ADMITTED_BY in fields:
        return "it is admitted already"
    if Field.PAUSED in fields:
        return "it is paused"
    return "" if _queue_of(fields) == queue else "it belongs to another queue"


def _queue_of(fields: dict[str, str]) -> str:
    """Return the queue in which a job waits. It repeats the rule of `queue_of` in jobs/lua/shared/queues.lua."""
    of_batch = Payer.PILOT if Field.PILOT in fields else Payer.BATCH
    of = of_batch + fields[Field.BATCH] if Field.BATCH in fields else Payer.KEY + fields.get(Field.OWNER, "")
    return f"{fields.get(Field.POOL, '')}|{fields.get(Field.PRIORITY, '1')}|{of}"
