"""Benchmark: admission with 100,000 waiting jobs: its cost, and how soon a small batch begins."""

import time
from dataclasses import dataclass
from pathlib import Path

from boomerang_client import Client, Status
from jobs.new_job import NewJob
from jobs.store.store import Store
from ops.bench.harness import generations, open_store, stack, until
from ops.local.redis_server import running

GROUP = 500
#: Jobs per message to a worker, the default of BOOMERANG_SUBMIT_GROUP.
MESSAGE = 20
SMALL = 10


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Microseconds to admit and claim a job, 20 at a time.

    `alone`: with few jobs waiting in one batch; `crowded`: with many in many batches.
    """

    alone: float
    crowded: float
    ahead: int  #: Other jobs that were admitted before the last job of a small batch, which was enqueued last.


def admission(folder: Path, jobs: int, batches: int) -> Admission:
    """Measure the store alone."""
    with running(folder / "few") as server, open_store(server.url) as store:
        _fill(store, 2_000, 1)
        alone = _cost(store, 1_000)
    with running(folder / "many") as server, open_store(server.url) as store:
        _fill(store, jobs, batches)
        crowded = _cost(store, 1_000)
        store.jobs.enqueue([NewJob(id=f"small.{number}", text="{}", model="m") for number in range(SMALL)], "small")
        ahead, missing = 0, SMALL
        while missing:
            ids = store.attempts.admit(MESSAGE).ids
            store.attempts.claim(ids)
            small = sum(job_id.startswith("small.") for job_id in ids)
            missing -= small
            ahead += len(ids) - small
    return Admission(alone=alone, crowded=crowded, ahead=ahead)


def _fill(store: Store, jobs: int, batches: int) -> None:
    for start in range(0, jobs, GROUP):
        group = [NewJob(id=f"j{start + number}", text="{}", model="m") for number in range(GROUP)]
        store.jobs.enqueue(group, f"b{start // GROUP % batches}")


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
