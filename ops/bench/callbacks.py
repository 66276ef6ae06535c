"""Benchmark: the latency of callbacks that arrive at a steady rate."""

import asyncio
import statistics
import time
from dataclasses import dataclass

import aiohttp

from jobs.new_job import NewJob
from ops.bench.harness import open_store
from ops.local.stack import LocalStack
from schemas import callback_path

GROUP = 500


@dataclass(frozen=True)
class CallbackLatency:
    """Milliseconds from the time at which a callback was due until its answer. `refused`: answers other than 204."""

    p50: float
    p99: float
    refused: int


def in_progress(redis_url: str, count: int) -> list[str]:
    """Create `count` jobs in progress and return their external ids."""
    ids = [f"callback-{number}" for number in range(count)]
    with open_store(redis_url) as store:
        for start in range(0, count, GROUP):
            group = ids[start : start + GROUP]
            store.jobs.enqueue([NewJob(id=i, text=f'{{"prompt":"{i}"}}', model="kirin_image_omni") for i in group])
            claims = store.attempts.claim(store.attempts.admit(GROUP).ids)
            store.attempts.mark_many_in_progress([(claim.id, claim.fence, f"task-{claim.id}") for claim in claims])
    return ids


def measure_latency(running: LocalStack, rate: int, seconds: int) -> CallbackLatency:
    """Send `rate` final callbacks per second, at fixed times, however slow the answers are."""
    ids = in_progress(running.redis_url, rate * seconds)
    secret = running.plan.secrets.callback_secret
    return asyncio.run(_send(running.url, [callback_path(each, secret) for each in ids], rate))


async def _send(url: str, paths: list[str], rate: int) -> CallbackLatency:
    body = {
        "id": "t",
        "status": "completed",
        "output": [{"content": [{"type": "image", "url": "https://images.example.com/a.png"}]}],
        "usage": {"cost": "0.0065", "discount": 1},
    }
    waits: list[float] = []
    refused = 0

    async def one(session: aiohttp.ClientSession, path: str, due: float) -> None:
        nonlocal refused
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        async with session.post(url + path, json=body) as answer:
            await answer.read()
            refused += answer.status != 204  # noqa: PLR2004 - No Content
        waits.append((time.perf_counter() - due) * 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:
        begin = time.perf_counter() + 0.5
        await asyncio.gather(*(one(session, path, begin + n / rate) for n, path in enumerate(paths)))
    cuts = statistics.quantiles(waits, n=100)
    return CallbackLatency(p50=cuts[49], p99=cuts[98], refused=refused)
