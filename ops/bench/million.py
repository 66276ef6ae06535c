"""Benchmark: a batch of a million jobs is uploaded, paused, read and cancelled."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from ops.bench.harness import authorized_session, generations, in_pieces, stack, until, upload_batch
from ops.bench.memory import Memory, redis_bytes


@dataclass(frozen=True, kw_only=True)
class Million:
    """Results: rates per second, times in seconds, memory in bytes."""

    jobs: int
    enqueued: float
    memory_before: int
    memory_peak: int
    redis_a_job: float
    paused_in: float
    results: float
    cancel_answered: float
    cancelled_in: float


def million(folder: Path, jobs: int) -> Million:
    """Measure one upload of `jobs` lines and the actions on it. A tiny submit rate keeps admission out."""
    with stack(folder, "--latency 0", {"BOOMERANG_SUBMIT_RATE": "0.001"}) as running:
        service = authorized_session(running.key)
        batch = f"{running.url}/v1/batches/million"
        watched = Memory(running.pids()["webhook"])

        lines = (json.dumps(request).encode() + b"\n" for request in generations(jobs))
        url = f"{running.url}/v1/batches?id=million"
        enqueued = jobs / upload_batch(service, url, watched.each(in_pieces(lines)), jobs)
        used = redis_bytes(running.redis_url)

        begin = time.perf_counter()
        service.post(f"{batch}/pause", timeout=60).raise_for_status()
        paused_in = time.perf_counter() - begin

        begin = time.perf_counter()
        with service.get(f"{batch}/results", stream=True, timeout=600) as results:
            read = sum(piece.count(b"\n") for piece in watched.each(results.iter_content(1 << 16)))
        results_rate = read / (time.perf_counter() - begin)

        begin = time.perf_counter()
        service.post(f"{batch}/cancel", timeout=60).raise_for_status()
        answered = time.perf_counter() - begin
        until(lambda: bool(service.get(batch, timeout=60).json()["done"]))
        return Million(
            jobs=jobs,
            enqueued=enqueued,
            memory_before=watched.before,
            memory_peak=watched.peak,
            redis_a_job=used / jobs,
            paused_in=paused_in,
            results=results_rate,
            cancel_answered=answered,
            cancelled_in=time.perf_counter() - begin,
        )
