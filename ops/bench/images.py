"""Many jobs with the same few large pictures: what they take in Redis, and in the worker that sends them."""

import io
import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from ops.bench.harness import generations, stack, until
from ops.bench.memory import Memory, redis_bytes

PICTURES = 4
#: Bytes of each picture.
SIZE = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Jobs that share pictures. `enqueued` a second, the rest in bytes; `sent` jobs were submitted to the simulator."""

    jobs: int
    enqueued: float
    web_before: int
    web_peak: int
    redis: int
    sent: int
    worker_before: int
    worker_peak: int


def shared_pictures(folder: Path, jobs: int, sent: int) -> Shared:
    """So many jobs name four pictures of 8 MB: enqueued in one request, then some of such jobs submitted."""
    with stack(folder / "in", "--latency 0", {"BOOMERANG_SUBMIT_RATE": "0.001"}) as running:
        service = _service(running.key)
        watched = Memory(running.pids()["webhook"])
        empty = redis_bytes(running.redis_url)
        references = [_upload(service, running.url) for _ in range(PICTURES)]
        begin = time.perf_counter()
        _enqueue(service, running.url, _lines(references, jobs), jobs, watched)
        enqueued = jobs / (time.perf_counter() - begin)
        grown = redis_bytes(running.redis_url) - empty
    # The simulator takes a second to read such a submission: more at once would be in doubt.
    with stack(folder / "out", "--latency 0", {"BOOMERANG_CONCURRENCY": "8"}) as running:
        service = _service(running.key)
        references = [_upload(service, running.url) for _ in range(PICTURES)]
        worker = Memory(running.pids()["worker"])
        _enqueue(service, running.url, _lines(references, sent), sent, worker)

        def done() -> bool:
            worker.look()
            return bool(service.get(f"{running.url}/v1/batches/pictures", timeout=60).json()["done"])

        until(done)
    return Shared(
        jobs=jobs,
        enqueued=enqueued,
        web_before=watched.before,
        web_peak=watched.peak,
        redis=grown,
        sent=sent,
        worker_before=worker.before,
        worker_peak=worker.peak,
    )


def _service(key: str) -> requests.Session:
    service = requests.Session()
    service.headers["Authorization"] = f"Bearer {key}"
    return service


def _upload(service: requests.Session, url: str) -> str:
    """Another picture each time. What stands behind its end is harmless, and quicker to make than pixels."""
    picture = io.BytesIO()
    Image.new("RGB", (2048, 1365)).save(picture, "PNG")
    data = picture.getvalue() + os.urandom(SIZE - picture.tell())
    answer = service.post(f"{url}/v1/images", data=data, headers={"Content-Type": "image/png"}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["id"])


def _lines(references: list[str], jobs: int) -> Iterator[bytes]:
    named: dict[str, Any] = {"image_list": [{"image": reference} for reference in references]}
    for request in generations(jobs):
        yield json.dumps(request | named).encode() + b"\n"


def _enqueue(service: requests.Session, url: str, lines: Iterator[bytes], jobs: int, watched: Memory) -> None:
    pieces = iter(lambda: b"".join(itertools.islice(lines, 1000)), b"")
    kind = {"Content-Type": "application/x-ndjson"}
    answer = service.post(f"{url}/v1/batches?id=pictures", data=watched.each(pieces), headers=kind, timeout=600)
    if answer.json().get("accepted") != jobs:
        raise RuntimeError(f"not all of the {jobs} lines were accepted: {answer.text[:300]}")
