"""Benchmark: admission with 100,000 waiting jobs: its cost, and how soon a small batch begins."""

import time
from dataclasses import dataclass
from pathlib import Path

from boomerang_client import Client, Status
from jobs.job import Priority
from jobs.new_job import BatchOptions, NewJob
from jobs.store.store import Store
from ops.bench.harness import generations, open_store, stack, until
from ops.local.redis_server import running

GROUP = 500
#: Jobs per message to a worker, the default of BOOMERANG_SUBMIT_GROUP.
MESSAGE = 20
SMALL = 10
#: The key of all other jobs.
LARGE = "shop"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Microseconds to admit and claim a job, 20 at a time.

    `alone`: with few jobs waiting in one batch; `crowded`: with many in many batches.
    """

    alone: float
    crowded: float
    ahead: int  #: Other jobs that were admitted before the last job of a small batch, which was enqueued last.
    ahead_of_key: int  #: The same if the small batch is another key's, although all others have a higher priority.


def admission(folder: Path, jobs: int, batches: int) -> Admission:
    """Measure the store alone."""
    with running(folder / "few") as server, open_store(server.url) as store:
        _fill(store, 2_000, 1)
        alone = _cost(store, 1_000)
    with running(folder / "many") as server, open_store(server.url) as store:
        _fill(store, jobs, batches)
        crowded = _cost(store, 1_000)
        ahead = _ahead(store, "small", BatchOptions(owner=LARGE, priority=Priority.HIGH))
        ahead_of_key = _ahead(store, "other", BatchOptions(owner="press"))
    return Admission(alone=alone, crowded=crowded, ahead=ahead, ahead_of_key=ahead_of_key)


def _ahead(store: Store, batch: str, options: BatchOptions) -> int:
    """Enqueue a small batch. Return how many other jobs are admitted before its last one."""
    store.jobs.enqueue(
        [NewJob(id=f"{batch}.{number}", text="{}", model="m") for number in range(SMALL)], batch, options
    )
    ahead, missing = 0, SMALL
    while missing:
        ids = store.attempts.admit(MESSAGE).ids
        store.attempts.claim(ids)
        small = sum(job_id.startswith(f"{batch}.") for job_id in ids)
        missing -= small
        ahead += len(ids) - small
    return ahead


def _fill(store: Store, jobs: int, batches: int) -> None:
    options = BatchOptions(owner=LARGE, priority=Priority.HIGH)
    for start in range(0, jobs, GROUP):
        group = [NewJob(id=f"j{start + number}", text="{}", model="m") for number in range(GROUP)]
        store.jobs.enqueue(group, f"b{start // GROUP % batches}", options)


def _cost(store: Store, jobs: int) -> float:
    begin = time.perf_counter()
    for _ in range(jobs // MESSAGE):
        store.attempts.claim(store.attempts.admit(MESSAGE).ids)
    return (time.perf_counter() - begin) / jobs * 1e6


def start_delay(folder: Path, jobs: int, slots: int) -> float:
    """Return the seconds until ten jobs, enqueued after `jobs` others, are submitted.

    The provider has `slots` slots and takes a second for a job.
    """
    limit = {"BOOMERANG_MAX_IN_FLIGHT": str(slots)}
    with stack(folder, f"--latency 1 --slots {slots}", limit) as service, Client(service.url, service.key) as client:
        client.enqueue_batch(list(generations(jobs)), id="large")
        begin = time.perf_counter()
        client.enqueue_batch(list(generations(SMALL)), id="small")
        until(lambda: client.batch("small").counts[Status.QUEUED] == 0)
        return time.perf_counter() - begin
