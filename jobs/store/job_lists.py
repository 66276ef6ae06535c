"""Pages of jobs by a filter, and counts of them.

Neither searches all jobs: `find_jobs.lua` reads the narrowest index (the jobs of a batch, with a label, or in some
states), and checks the records of a limited number of its entries. A page may therefore be short, even empty, although
more follow. A cursor is the creation time of the last checked entry (within a batch: its position). These never change,
and no two creation times are equal, so that concurrent changes make no page skip or repeat a job.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.failures import FailureClass, classify
from jobs.fields import BatchCounter, printable
from jobs.job import Job
from jobs.job_filter import JobFilter
from jobs.read_models import Count, Page
from jobs.states import FINAL, State
from jobs.store.context import StoreContext
from jobs.store.redis_keys import Keys
from jobs.units import to_micros

#: Records that one call checks: a few milliseconds, during which Redis answers nothing else.
STEP = 500
#: Most records that are checked for a page, and for a count.
SCAN, COUNTED = 5_000, 10_000
#: The states in which a worker or the provider has a job.
UNDER_WAY = frozenset(State) - FINAL - {State.QUEUED}
#: Bytes of an error code by which a batch counts its failed jobs.
_LONGEST_CODE = 64
#: Ids → the jobs; None for one that cannot be read.
Read = Callable[[Sequence[str]], Sequence[Job | None]]


def list_jobs(context: StoreContext, read: Read, only: JobFilter, cursor: str | None, limit: int) -> Page:
    """Return a page of jobs: those of a batch in input order, others newest first."""
    filter_, found, seen = only.to_script_json(), list[tuple[str, str]](), 0
    further = cursor or ""
    if not only.possible_states():
        return Page((), None)
    while seen < SCAN and len(found) < limit:
        step = _find(context, filter_, further, limit - len(found), min(STEP, SCAN - seen))
        found += step.found
        further, seen = step.cursor, seen + STEP
        if not further:
            break
    jobs = [(job, after) for job, (_, after) in zip(read([id_ for id_, _ in found]), found, strict=True) if job]
    return Page(tuple(job for job, _ in jobs), further or None, tuple(after for _, after in jobs))


def count_jobs(context: StoreContext, only: JobFilter, most: int | None = None) -> Count:
    """Count the jobs of a filter: from counters where these count just that, else by checking so many records at most.

    `most`: by default `COUNTED`.
    """
    if not only.possible_states():
        return Count(0, exact=True)
    with translate_errors():
        counted = _from_counters(context.client, context.keys, only)
    if counted is not None:
        return Count(counted, exact=True)
    filter_, further, jobs, seen = only.to_script_json(), "", 0, 0
    while seen < (COUNTED if most is None else most):
        step = _find(context, filter_, further, 0, STEP)
        further, jobs, seen = step.cursor, jobs + step.count, seen + STEP
        if not further:
            return Count(jobs, exact=True)
    return Count(jobs, exact=False)


def count_under_way(context: StoreContext, owner: str) -> dict[State, Count]:
    """Count an owner's jobs in each state in which a worker or the provider has them: one round trip.

    There are few of them, however many wait: slots limit them.
    """
    states = sorted(UNDER_WAY)
    filters = [JobFilter(owner=owner, states=[state]).to_script_json() for state in states]
    steps = context.scripts.calls([("find_jobs", each, "", 0, 4 * STEP) for each in filters])
    return {
        state: Count(int(count), exact=not further) for state, (further, count, *_) in zip(states, steps, strict=True)
    }


@dataclass(frozen=True, slots=True)
class _Step:
    cursor: str
    count: int
    found: list[tuple[str, str]]


def _find(context: StoreContext, filter_: str, cursor: str, most: int, work: int) -> _Step:
    further, count, _, *rows = context.scripts.call("find_jobs", filter_, cursor, most, work)
    return _Step(str(further), int(count), list(zip(rows[::2], rows[1::2], strict=True)))


def _from_counters(client: redis.Redis, keys: Keys, only: JobFilter) -> int | None:
    """Return how many jobs meet the filter; None: no counter counts them."""
    since = str(to_micros(only.since)) if only.since else "-inf"
    before = f"({to_micros(only.before)}" if only.before else "+inf"
    named = only.named - {"since", "before"}
    if named == {"labels"} and len(only.labels) == 1:
        ((name, value),) = only.labels.items()
        counts: Any = [client.zcount(keys.member("labelled", f"{name}={value}"), since, before)]
        return int(counts[0])
    if named <= {"states"}:
        with client.pipeline(transaction=False) as pipe:
            for state in only.possible_states():
                pipe.zcount(keys.member("state", state), since, before)
            return sum(map(int, pipe.execute()))
    if only.batch and only.named <= {"batch", "states", "codes", "classes", "owner"}:
        fields: Any = client.hgetall(keys.member("batch", only.batch))
        with decoding(f"batch {printable(only.batch)}"):
            return _of_batch(fields, only)
    return None


def _of_batch(fields: dict[str, str], only: JobFilter) -> int | None:
    """Return how many jobs of a batch meet the filter, by its counters, which count deleted jobs, too."""
    if not fields or only.owner not in (None, fields.get("key", "")):
        return 0
    if int(fields.get("gone", 0)):
        return None
    if not only.codes and not only.classes:
        return sum(int(fields.get(state, 0)) for state in only.possible_states())
    if FailureClass.UNSAVED in only.classes or any(len(code.encode()) > _LONGEST_CODE for code in only.codes):
        return None
    start = BatchCounter.FAILED
    failed = {name.removeprefix(start): int(count) for name, count in fields.items() if name.startswith(start)}
    return sum(
        count
        for code, count in failed.items()
        if (not only.codes or code in only.codes) and (not only.classes or classify(code) in only.classes)
    )
