"""What the benchmarks run on: the real stack, a worker with plain Celery tasks, and requests to send."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from jobs.connections.client import connect
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local import redis_server
from ops.local.stack import LocalStack, Options

PROMPTS = Path(__file__).parents[1] / "assets" / "parti-prompts.jsonl"
#: Seconds after which a measurement is given up.
LIMIT = 300.0
#: Lines of an upload that are sent together.
PIECE = 1000


class TooSlow(Exception):
    """The measurement did not end in time."""


def generations(count: int) -> Iterator[dict[str, Any]]:
    """Yield `count` requests with real prompts."""
    prompts = [json.loads(line)["prompt"] for line in PROMPTS.read_text("utf-8").splitlines()]
    for prompt in itertools.islice(itertools.cycle(prompts), count):
        yield {"model": "kirin_image_omni", "prompt": prompt}


@contextmanager
def stack(
    folder: Path,
    simulator: str,
    settings: dict[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Iterator[LocalStack]:
    """Run the whole service. `simulator`: the simulator's options. `environ`: the environment of the command."""
    options = Options(
        folder=folder,
        flower=False,
        simulator=simulator,
        settings=settings or {},
        warnings=False,
    )
    with LocalStack(options, lambda *_: None, environ) as running:
        yield running


def authorized_session(key: str) -> requests.Session:
    """Return a session that sends the producer's key."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"
    return session


def upload_batch(service: requests.Session, url: str, lines: Iterator[bytes], jobs: int) -> float:
    """Upload NDJSON in one request to `/v1/batches?id=…` and return its duration in seconds.

    Raises RuntimeError if the service refuses lines.
    """
    begin = time.perf_counter()
    answer = service.post(url, data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=600)
    seconds = time.perf_counter() - begin
    if answer.json().get("accepted") != jobs:
        raise RuntimeError(f"the service did not accept all of the {jobs} lines: {answer.text[:300]}")
    return seconds


def in_pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Join the lines to pieces of PIECE lines, so that the sender is not the bottleneck."""
    return iter(lambda: b"".join(itertools.islice(lines, PIECE)), b"")


@contextmanager
def plain_worker(running: LocalStack) -> Iterator[str]:
    """Run a worker with the plain Celery tasks against the same simulator. Yields its broker's URL.

    Its broker is a Redis of its own, set up like the stack's, whose users may use only the service's queues.
    """
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "BENCH_PROVIDER_URL": running.plan.url("simulator"),
        "BENCH_PROVIDER_KEY": running.plan.secrets.provider_key,
    }
    argv = (
        sys.executable,
        "-m",
        "celery",
        "-A",
        "ops.bench.plain_tasks:app",
        "worker",
        "-Q",
        "celery",
        "--loglevel=error",
    )
    with (
        redis_server.running(running.plan.folder / "plain", fsync=redis_server.Fsync.EVERYSEC) as broker,
        subprocess.Popen(  # noqa: S603 - our own command
            argv,
            env=env | {"BENCH_BROKER_URL": broker.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as worker,
    ):
        try:
            yield broker.url
        finally:
            worker.terminate()


@contextmanager
def open_store(url: str) -> Iterator[Store]:
    """Open a store on an empty Redis, which becomes a new installation."""
    client = connect(url)
    try:
        store = Store(client, Settings())
        store.continuity.establish(store.continuity.standing())
        yield store
    finally:
        client.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition. Raises TooSlow after LIMIT seconds."""
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise TooSlow(f"the measurement did not end within {LIMIT:.0f} s")
        time.sleep(0.05)


def ended_tasks(running: LocalStack) -> int:
    """Return how many tasks of the simulator have ended."""
    stats = requests.get(f"{running.plan.url('simulator')}/_sim/stats", timeout=30).json()
    return int(stats["tasks"]) - int(stats["in_flight"])
