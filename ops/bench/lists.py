"""Benchmark: pages, counts and bulk actions, with few jobs and with a million."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from jobs.bulk import BulkAction, BulkState
from jobs.connections.client import connect
from jobs.failures import FailureClass
from jobs.job_filter import ALL_JOBS, JobFilter
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.settings import Settings
from jobs.states import State
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from ops.local.redis_server import running

#: Jobs of a script that makes them, and of a batch.
STEP, BATCH = 2_000, 100_000
LABELS, RUNS = ("berlin", "rome", "paris", "oslo"), 5
#: Of ten batches, one is of the second producer.
OWNERS = ("shop", "press")
BULK = "0" * 16

#: What is measured, by name.
FILTERS = {
    "all jobs": ALL_JOBS,
    "failed": JobFilter(states=[State.FAILED]),
    "failed for moderation": JobFilter(classes=[FailureClass.MODERATION]),
    "of a batch": JobFilter(batch="b0@shop"),
    "failed, of a batch": JobFilter(batch="b0@shop", states=[State.FAILED]),
    "with a label": JobFilter(labels={"city": "rome"}),
    "of a producer with one in ten": JobFilter(owner="press"),
    "the same, failed, with a label": JobFilter(owner="press", states=[State.FAILED], labels={"city": "rome"}),
    "of an unknown model (no index)": JobFilter(models=["other"]),
    "of at least 1 USD (no index)": JobFilter(min_cost=Decimal(1)),
}

#: Makes many jobs of a real one. ARGV: 1 prefix, 2 id of the template, 3 producer, 4 batch, 5 first number, 6 how many,
#: 7 time of creation of number 0, 8 state, 9 label.
_CLONE = """
local prefix, owner, batch, state, label = ARGV[1], ARGV[3], ARGV[4], ARGV[8], ARGV[9]
local record, text = redis.call('HGETALL', prefix .. 'j:' .. ARGV[2]), redis.call('GET', prefix .. 't:' .. ARGV[2])
local result, labels = redis.call('GET', prefix .. 'r:' .. ARGV[2]), redis.call('GET', prefix .. 'l:' .. ARGV[2])
for number = ARGV[5], ARGV[5] + ARGV[6] - 1 do
  local id, at = 'job-' .. string.format('%d', number) .. '@' .. owner, string.format('%.0f', ARGV[7] + number)
  for i = 1, #record, 2 do
    if record[i] == 'c' then record[i + 1] = at end
    if record[i] == 'b' then record[i + 1] = batch end
  end
  redis.call('HSET', prefix .. 'j:' .. id, unpack(record))
  redis.call('SET', prefix .. 't:' .. id, text)
  redis.call('SET', prefix .. 'l:' .. id, labels)
  if result then redis.call('SET', prefix .. 'r:' .. id, result) end
  redis.call('ZADD', prefix .. 's:' .. state, at, id)
  redis.call('ZADD', prefix .. 'y:' .. label, at, id)
  redis.call('RPUSH', prefix .. 'm:' .. batch, id)
  if state == 'queued' then
    redis.call('ZADD', prefix .. 'alarms', at + 900000000, id)
    redis.call('ZADD', prefix .. 'q:|1|b' .. batch, at, id)
  end
end
redis.call('ZADD', prefix .. 'os:' .. owner, ARGV[7] + ARGV[5] + ARGV[6] - 1, string.format('%.0f', ARGV[7] + ARGV[5]))
redis.call('HINCRBY', prefix .. 'b:' .. batch, 'accepted', ARGV[6])
redis.call('HINCRBY', prefix .. 'b:' .. batch, state, ARGV[6])
redis.call('HSET', prefix .. 'totals', 'last', string.format('%.0f', ARGV[7] + ARGV[5] + ARGV[6]))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One filter: the best of some runs in milliseconds, the commands of Redis, and what was found."""

    name: str
    page_ms: float
    page_commands: int
    found: int
    count_ms: float
    count_commands: int
    count: int
    exact: bool


@contextmanager
def filled(folder: Path, jobs: int) -> Iterator[Store]:
    """Run a Redis with about so many jobs: of two producers, in batches, with labels; nine of ten have ended."""
    with running(folder, durable=False) as server:
        store = Store(connect(server.url), Settings())
        store.continuity.establish(store.continuity.standing())
        made = _templates(store)
        for number in range(0, jobs, BATCH):
            for owner in OWNERS:
                store.jobs.enqueue([], f"b{number // BATCH}@{owner}", BatchOptions(owner=owner))
        first = time.time_ns() // 1000
        for number in range(0, jobs, STEP):
            owner = OWNERS[number // STEP % 10 == 0]
            batch = f"b{number // BATCH}@{owner}"
            label = LABELS[number // STEP % len(LABELS)]
            state = (State.COMPLETED, State.FAILED, State.QUEUED)[number // STEP % 20 // 9]
            size = min(STEP, jobs - number)
            keys = (Keys().prefix, made[state, label], owner, batch, number, size, first, state, f"city={label}")
            store.context.client.eval(_CLONE, 0, *keys)
        yield store


def _templates(store: Store) -> dict[tuple[State, str], str]:
    """Make a job in each state with each label, through the verbs."""
    made: dict[tuple[State, str], str] = {}
    for state in (State.COMPLETED, State.FAILED, State.QUEUED):
        for label in LABELS:
            job = NewJob(
                id=f"{state}-{label}@shop",
                text='{"model":"kirin_image_omni","params":{"prompt":"a fox in the snow"}}',
                model="kirin_image_omni",
                labels={"city": label},
            )
            store.jobs.enqueue([job], "templates@shop", BatchOptions(owner="shop"))
            made[state, label] = job.id
            if state is State.QUEUED:
                continue
            for claim in store.attempts.claim(store.attempts.admit(1).ids):
                error = {"code": "1301" if label == "rome" else "1201", "message": "refused"}
                output = ({"type": "image", "url": "https://cdn.example.com/1.png"},)
                failed = Result(error=error, cost=Decimal("0.0065"))
                result = failed if state is State.FAILED else Result(output=output, cost=Decimal("0.0065"))
                store.attempts.finish(claim.external_task_id, state, result, "poll", fence=claim.fence)
    return made


def measure_lists(store: Store) -> Iterator[Measured]:
    """Measure the first page and the count of each filter."""
    for name, only in FILTERS.items():
        page_ms, page_commands, page = _measure(store, _asking(store.jobs.page, only))
        count_ms, count_commands, count = _measure(store, _asking(store.jobs.count, only))
        yield Measured(name, page_ms, page_commands, len(page.jobs), count_ms, count_commands, count.jobs, count.exact)


def _asking(ask: Callable[[JobFilter], Any], only: JobFilter) -> Callable[[], Any]:
    return lambda: ask(only)


def _measure(store: Store, ask: Callable[[], Any]) -> tuple[float, int, Any]:
    times, client, answer = list[float](), store.context.client, None
    before = count_commands(client)
    for _ in range(RUNS):
        begin = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - begin)
    return min(times) * 1000, (count_commands(client) - before) // RUNS, answer


def count_commands(client: Any) -> int:
    """Return how many commands Redis ran, also in scripts."""
    return sum(each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info")


def measure_bulk(store: Store, action: BulkAction, only: JobFilter) -> tuple[int, float, float]:
    """Run a bulk action to its end. Returns jobs, seconds, and the longest step in milliseconds."""
    begin, longest = time.perf_counter(), 0.0
    store.bulks.begin(BULK, action, only, asked={})
    while store.bulks.get(BULK).state is BulkState.RUNNING:
        step = time.perf_counter()
        store.bulks.advance(0.001)
        longest = max(longest, time.perf_counter() - step)
    return store.bulks.get(BULK).affected, time.perf_counter() - begin, longest * 1000
