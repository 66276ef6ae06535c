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
from jobs.job import Result
from jobs.job_filter import ALL_JOBS, JobFilter
from jobs.new_job import BatchOptions, NewJob
from jobs.settings import Settings
from jobs.states import State
from jobs.store.chunks import CHUNK, chunks
from jobs.store.store import Store
from ops.local.redis_server import running

#: Jobs of a batch.
BATCH = 100_000
#: Of so many jobs of a size, one has ended in each other way; one in RARE has the rare label and the rare model.
ENDED, RARE = 50, 10_000
LABELS, RUNS = ("berlin", "rome", "paris", "oslo"), 5
OWNERS = ("shop", "press")

#: What is measured, by name.
FILTERS = {
    "all jobs": ALL_JOBS,
    "failed jobs": JobFilter(states=[State.FAILED]),
    "failed for moderation": JobFilter(classes=[FailureClass.MODERATION]),
    "of a batch": JobFilter(batch="b0@shop"),
    "failed, of a batch": JobFilter(batch="b0@shop", states=[State.FAILED]),
    "with a label": JobFilter(labels={"city": "rome"}),
    "of a producer": JobFilter(owner="press"),
    "of a producer, failed, with a label": JobFilter(owner="press", states=[State.FAILED], labels={"city": "rome"}),
    "of a rare model (no index)": JobFilter(models=["rare"]),
    "that cost at least 1 USD (no index)": JobFilter(min_cost=Decimal(1)),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One question: the best of some runs in milliseconds, the calls of Redis, and what was found."""

    name: str
    page_ms: float
    page_calls: int
    found: int
    count_ms: float
    count_calls: int
    count: int
    exact: bool


@contextmanager
def filled(folder: Path, jobs: int) -> Iterator[Store]:
    """Run a Redis with so many real jobs: of two producers, with labels, in batches, and in all final states."""
    with running(folder, durable=False) as server:
        store = Store(connect(server.url), Settings())
        store.continuity.establish(store.continuity.standing())
        for numbers in chunks(iter(range(jobs))):
            owner = OWNERS[numbers[0] // CHUNK % 10 == 0]
            store.jobs.enqueue(
                [_job(number, owner) for number in numbers],
                f"b{numbers[0] // BATCH}@{owner}",
                BatchOptions(owner=owner),
            )
        _end(store, max(1, jobs // ENDED))
        yield store


def _job(number: int, owner: str) -> NewJob:
    return NewJob(
        id=f"job-{number}@{owner}",
        text='{"model":"kirin_image_omni","params":{"prompt":"a fox in the snow"}}',
        model="rare" if number % RARE == 1 else "kirin_image_omni",
        owner=owner,
        labels={"city": LABELS[number % len(LABELS)]},
    )


def _end(store: Store, many: int) -> None:
    """End the oldest jobs: half of them failed, the others completed."""
    ended = 0
    while ended < many and (ids := store.attempts.admit(100).ids):
        for claim in store.attempts.claim(ids):
            failed = ended % 2 == 0
            error = {"code": "1301" if ended % 4 else "1201", "message": "refused"} if failed else None
            output = () if failed else ({"type": "image", "url": "https://cdn.example.com/1.png"},)
            result = Result(output=output, error=error, cost=Decimal("0.0065"))
            state = State.FAILED if failed else State.COMPLETED
            store.attempts.finish(claim.external_task_id, state, result, "poll", fence=claim.fence)
            ended += 1


def measure_lists(store: Store) -> Iterator[Measured]:
    """Measure the first page and the count of each filter."""
    for name, only in FILTERS.items():
        page_ms, page_calls, page = _measured(store, lambda only=only: store.jobs.page(only, limit=50))  # type: ignore[misc]
        count_ms, count_calls, count = _measured(store, lambda only=only: store.jobs.count(only))  # type: ignore[misc]
        yield Measured(name, page_ms, page_calls, len(page.jobs), count_ms, count_calls, count.jobs, count.exact)


def _measured(store: Store, ask: Callable[[], Any]) -> tuple[float, int, Any]:
    times, client = list[float](), store.context.client
    for _ in range(RUNS):
        before = _calls(client)
        begin = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - begin)
        calls = _calls(client) - before
    return min(times) * 1000, calls, answer


def _calls(client: Any) -> int:
    """Return how many commands Redis ran, also in scripts."""
    return sum(each["calls"] for name, each in client.info("commandstats").items() if name != "cmdstat_info")


def measure_bulk(store: Store, action: BulkAction, only: JobFilter) -> tuple[int, float, float]:
    """Run a bulk action to its end. Returns jobs, seconds, and the longest step in milliseconds."""
    begin, longest = time.perf_counter(), 0.0
    store.bulks.begin("0" * 16, action, only, asked={})
    while store.bulks.get("0" * 16).state is BulkState.RUNNING:
        step = time.perf_counter()
        store.context.scripts.call("bulk", "", 500, 100, 900_000_000)
        longest = max(longest, time.perf_counter() - step)
    return store.bulks.get("0" * 16).affected, time.perf_counter() - begin, longest * 1000
