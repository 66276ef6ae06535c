"""A batch of a million: in through one request, paused, read back, cancelled, while the web process is watched."""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from jobs.store import connect
from ops.bench.stage import generations, stack, until

#: Lines sent in one piece, so that the sender is not what is measured.
PIECE = 1000
#: Seconds between two looks at the process.
LOOK = 0.5


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
        watched = _Memory(running.pids()["webhook"])

        begin = time.perf_counter()
        url, kind = f"{running.url}/v1/batches?id=million", {"Content-Type": "application/x-ndjson"}
        answer = service.post(url, data=_lines(jobs, watched), headers=kind, timeout=600)
        enqueued = jobs / (time.perf_counter() - begin)
        if answer.json()["accepted"] != jobs:
            raise RuntimeError(f"not all of the {jobs} lines were accepted: {answer.text[:300]}")
        used = _redis_bytes(running.redis_url)

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


def _lines(jobs: int, watched: "_Memory") -> Iterator[bytes]:
    encoded = (json.dumps(request).encode() + b"\n" for request in generations(jobs))
    while piece := b"".join(itertools.islice(encoded, PIECE)):
        watched.look()
        yield piece


def _redis_bytes(url: str) -> int:
    client = connect(url)
    try:
        return int(client.info("memory")["used_memory"])
    finally:
        client.close()


class _Memory:
    """The resident memory of a process and its children, looked at now and then, in bytes."""

    def __init__(self, pid: int) -> None:
        self._pids = [pid, *_children(pid)]
        self.before = self.peak = self._now()
        self._looked = time.monotonic()

    def look(self) -> None:
        """Look, unless that was just done."""
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            self.peak = max(self.peak, self._now())

    def each(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Look while these go by."""
        for piece in pieces:
            self.look()
            yield piece

    def _now(self) -> int:
        return sum(_resident(pid) for pid in self._pids)


def _children(pid: int) -> list[int]:
    found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]
    return [each for child in found for each in (child, *_children(child))]


def _resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
