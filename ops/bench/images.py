"""Benchmark: memory of Redis, webhook and worker for many jobs that share a few large images."""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image

from ops.bench.harness import authorized_session, generations, in_pieces, stack, until, upload_batch
from ops.bench.memory import Memory, redis_bytes

IMAGES = 4
#: Bytes of each image.
SIZE = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Results. `enqueued`: jobs per second; `sent`: jobs submitted to the simulator; the others are bytes."""

    jobs: int
    enqueued: float
    web_before: int
    web_peak: int
    redis: int
    sent: int
    worker_before: int
    worker_peak: int


def shared_images(folder: Path, jobs: int, sent: int) -> Shared:
    """Enqueue `jobs` jobs in one request, then submit `sent` such jobs. All refer to four images of 8 MB."""
    with stack(folder / "in", "--latency 0", {"BOOMERANG_SUBMIT_RATE": "0.001"}) as running:
        service = authorized_session(running.key)
        watched = Memory(running.pids()["webhook"])
        empty = redis_bytes(running.redis_url)
        references = [_upload(service, running.url) for _ in range(IMAGES)]
        url = f"{running.url}/v1/batches?id=shared"
        enqueued = jobs / upload_batch(service, url, watched.each(in_pieces(_lines(references, jobs))), jobs)
        grown = redis_bytes(running.redis_url) - empty
    # The simulator takes a second to read such a submission: with more at once, some would time out.
    with stack(folder / "out", "--latency 0", {"BOOMERANG_CONCURRENCY": "8"}) as running:
        service = authorized_session(running.key)
        references = [_upload(service, running.url) for _ in range(IMAGES)]
        worker = Memory(running.pids()["worker"])
        url = f"{running.url}/v1/batches?id=shared"
        upload_batch(service, url, worker.each(in_pieces(_lines(references, sent))), sent)

        def done() -> bool:
            worker.sample()
            return bool(service.get(f"{running.url}/v1/batches/shared", timeout=60).json()["done"])

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


def _upload(service: requests.Session, url: str) -> str:
    """Upload a new image. Random bytes after the end of the PNG make it large faster than pixels would."""
    image = io.BytesIO()
    Image.new("RGB", (2048, 1365)).save(image, "PNG")
    data = image.getvalue() + os.urandom(SIZE - image.tell())
    answer = service.post(f"{url}/v1/images", data=data, headers={"Content-Type": "image/png"}, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["id"])


def _lines(references: list[str], jobs: int) -> Iterator[bytes]:
    named: dict[str, Any] = {"image_list": [{"image": reference} for reference in references]}
    for request in generations(jobs):
        yield json.dumps(request | named).encode() + b"\n"
