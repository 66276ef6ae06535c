"""A batch of a million: in through one request, paused, read back, cancelled, while the web process is watched."""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from ops.bench.harness import generations, stack, until
from ops.bench.memory import Memory, redis_bytes

#: Lines sent in one piece, so that the sender is not what is measured.
PIECE = 1000


@dataclass(frozen=True, kw_only=True)
class Million:
    """What was measured. Rates a second, times in seconds, memory in bytes."""

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
    """One upload of so many lines, and what can be done to it. Admission is kept out by a rate of next to nothing."""
    with stack(folder, "--latency 0", {"BOOMERANG_SUBMIT_RATE": "0.001"}) as running:
        service = requests.Session()
        service.headers["Authorization"] = f"Bearer {running.key}"
        batch = f"{running.url}/v1/batches/million"
        watched = Memory(running.pids()["webhook"])

        begin = time.perf_counter()
        url, kind = f"{running.url}/v1/batches?id=million", {"Content-Type": "application/x-ndjson"}
        answer = service.post(url, data=_lines(jobs, watched), headers=kind, timeout=600)
        enqueued = jobs / (time.perf_counter() - begin)
        if answer.json()["accepted"] != jobs:
            raise RuntimeError(f"not all of the {jobs} lines were accepted: {answer.text[:300]}")
        used = redis_bytes(running.redis_url)

        begin = time.perf_counter()
        service.post(f"{batch}/pause", timeout=60).raise_for_status()
        paused_in = time.perf_counter() - begin

        begin = time.perf_counter()
        with service.get(f"{batch}/results", stream=True, timeout=600) as results:
            lines = sum(piece.count(b"\n") for piece in watched.each(results.iter_content(1 << 16)))
        read = lines / (time.perf_counter() - begin)

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
            results=read,
            cancel_answered=answered,
            cancelled_in=time.perf_counter() - begin,
        )


def _lines(jobs: int, watched: Memory) -> Iterator[bytes]:
    encoded = (json.dumps(request).encode() + b"\n" for request in generations(jobs))
    while piece := b"".join(itertools.islice(encoded, PIECE)):
        watched.look()
        yield piece
