"""Where the benchmarks run: the real stack, a worker with the plain recipes beside it, and requests to send."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from ops.local.stack import LocalStack, Options

PROMPTS = Path(__file__).parents[1] / "assets" / "parti-prompts.jsonl"
#: Seconds after which a measurement that does not end is given up.
LIMIT = 300.0


class TooSlow(Exception):
    """A measurement did not end in time."""


def generations(count: int) -> Iterator[dict[str, Any]]:
    """So many requests, on real prompts."""
    prompts = [json.loads(line)["prompt"] for line in PROMPTS.read_text("utf-8").splitlines()]
    for prompt in itertools.islice(itertools.cycle(prompts), count):
        yield {"model": "kirin_image_omni", "prompt": prompt}


@contextmanager
def stack(folder: Path, simulator: str, settings: dict[str, str] | None = None) -> Iterator[LocalStack]:
    """The whole service; `simulator`: its options."""
    options = Options(
        folder=folder,
        flower=False,
        simulator=simulator,
        settings=settings or {},
        warnings=False,
    )
    with LocalStack(options, lambda *_: None) as running:
        yield running


@contextmanager
def recipes(running: LocalStack) -> Iterator[str]:
    """A worker with the plain recipes, against the same simulator; gives its broker's URL."""
    broker = running.broker_urls["worker"].rsplit("/", 1)[0] + "/1"
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "BENCH_BROKER_URL": broker,
        "BENCH_PROVIDER_URL": running.plan.url("simulator"),
        "BENCH_PROVIDER_KEY": running.plan.secrets.provider_key,
    }
    argv = (sys.executable, "-m", "celery", "-A", "ops.bench.recipes:app", "worker", "-Q", "celery", "--loglevel=error")
    with subprocess.Popen(  # noqa: S603 - our own command
        argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        try:
            yield broker
        finally:
            worker.terminate()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; raises TooSlow."""
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise TooSlow(f"not done after {LIMIT:.0f} s")
        time.sleep(0.05)


def bought(running: LocalStack) -> int:
    """Tasks that have cost money, by the simulator's ledger."""
    stats = requests.get(f"{running.plan.url('simulator')}/_sim/stats", timeout=30).json()
    return int(stats["tasks"]) - int(stats["in_flight"])
