"""Benchmark of the store alone: jobs accepted per second, and the memory of a job in Redis."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from jobs.new_job import NewJob
from ops.bench.harness import generations, open_store
from ops.bench.memory import redis_bytes
from ops.local.redis_server import running
from schemas import load_request

GROUP = 500
TASK_ID = "0123456789abcdef0123"


@dataclass(frozen=True)
class StateCost:
    """`rate`: jobs accepted per second by one process; `size`: Redis bytes per job in flight without its request."""

    rate: float
    size: float


def measure_state(folder: Path, count: int) -> StateCost:
    """Parse, validate and enqueue `count` lines in one process, 500 per call, then put all in progress."""
    lines = [json.dumps(request) for request in generations(count)]
    with running(folder) as server, open_store(server.url) as store:
        empty = redis_bytes(server.url)
        text = 0
        begin = time.perf_counter()
        for start in range(0, count, GROUP):
            group = []
            for number, line in enumerate(lines[start : start + GROUP], start):
                request = load_request(json.loads(line))
                group.append(NewJob(id=f"bench.{number}", text=request.text(), model=request.model, n=request.n))
            text += sum(len(job.text.encode()) for job in group)
            store.jobs.enqueue(group, batch="bench")
        rate = count / (time.perf_counter() - begin)
        while ids := store.attempts.admit(GROUP).ids:
            store.attempts.mark_many_in_progress(
                [(claim.id, claim.fence, TASK_ID) for claim in store.attempts.claim(ids)]
            )
        size = (redis_bytes(server.url) - empty - text) / count
        return StateCost(rate, size)
