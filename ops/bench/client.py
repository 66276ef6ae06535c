"""Benchmark: the client beside plain `requests`, and its twin for asyncio: `python -m ops.bench.client`.

One stack serves all of them in turn. CPU is that of this process, its threads included.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from boomerang_client import AsyncClient, Client
from ops.bench.harness import authorized_session, generations, in_pieces, stack, upload_batch
from ops.local.stack import LocalStack

#: Of the jobs, one in so many is enqueued by a call of its own.
SINGLE = 20
#: The batch whose results are read.
BATCH = "ours"


@dataclass(frozen=True, slots=True)
class Cost:
    """What `who` did with so many jobs: seconds in all, and microseconds of CPU for each job."""

    what: str
    who: str
    jobs: int
    seconds: float
    cpu: float


class Plain:
    """The calls with nothing but requests."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._session = authorized_session(key)

    def enqueue_each(self, requests: Sequence[Mapping[str, Any]]) -> int:
        """Enqueue jobs one by one."""
        for request in requests:
            self._session.post(f"{self._url}/v1/jobs", json=request, timeout=60).raise_for_status()
        return len(requests)

    def enqueue_batch(self, jobs: int) -> int:
        """Enqueue a batch."""
        lines = (json.dumps(each).encode() + b"\n" for each in generations(jobs))
        upload_batch(self._session, f"{self._url}/v1/batches?id=plain", in_pieces(lines), jobs)
        return jobs

    def read(self, batch: str) -> int:
        """Read the results of a batch."""
        address = f"{self._url}/v1/batches/{batch}/results"
        with self._session.get(address, stream=True, timeout=60) as response:
            return sum(json.loads(line)["id"] != "" for line in response.iter_lines(64 * 1024))


class Ours:
    """The calls of the client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def enqueue_each(self, requests: Sequence[Mapping[str, Any]]) -> int:
        """Enqueue jobs one by one."""
        for request in requests:
            self._client.generate(**request)
        return len(requests)

    def enqueue_batch(self, jobs: int) -> int:
        """Enqueue a batch."""
        return self._client.enqueue_batch(generations(jobs), BATCH).accepted

    def read(self, batch: str) -> int:
        """Read the results of a batch."""
        return sum(job.id != "" for job in self._client.results(batch))


class Twin:
    """The calls of the client for asyncio, each with an event loop of its own."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key

    def _open(self) -> AsyncClient:
        return AsyncClient(self._url, self._key)

    def enqueue_each(self, requests: Sequence[Mapping[str, Any]]) -> int:
        """Enqueue jobs one by one."""

        async def run() -> int:
            async with self._open() as client:
                for request in requests:
                    await client.generate(**request)
            return len(requests)

        return asyncio.run(run())

    def enqueue_batch(self, jobs: int) -> int:
        """Enqueue a batch."""

        async def run() -> int:
            async with self._open() as client:
                return (await client.enqueue_batch(generations(jobs), "twin")).accepted

        return asyncio.run(run())

    def read(self, batch: str) -> int:
        """Read the results of a batch."""

        async def run() -> int:
            async with self._open() as client, aclosing(client.results(batch)) as found:
                return sum([job.id != "" async for job in found])

        return asyncio.run(run())


def measure_client(running: LocalStack, jobs: int) -> Iterator[Cost]:
    """Enqueue jobs one by one and as batches, then read the results of one batch: each way in turn."""
    url, key = running.url, running.key
    singles = list(generations(jobs // SINGLE))
    with Client(url, key) as client:
        ways: Mapping[str, Plain | Ours | Twin] = {
            "requests": Plain(url, key),
            "Client": Ours(client),
            "AsyncClient": Twin(url, key),
        }
        for name, way in ways.items():
            yield measure("enqueued one by one", name, partial(way.enqueue_each, singles))
        for name, way in ways.items():
            yield measure("enqueued as a batch", name, partial(way.enqueue_batch, jobs))
        client.wait(BATCH)
        for name, way in ways.items():
            yield measure("results read", name, partial(way.read, BATCH))


def measure(what: str, who: str, run: Callable[[], int]) -> Cost:
    """Measure a run, which returns how many jobs it was about."""
    begin, cpu = time.perf_counter(), time.process_time()
    jobs = run()
    seconds, used = time.perf_counter() - begin, time.process_time() - cpu
    return Cost(what, who, jobs, seconds, used / jobs * 1e6)


@click.command()
@click.option("--jobs", default=10_000, show_default=True, help="Number of jobs in a batch.")
def main(jobs: int) -> None:
    """Measure the client against plain requests, and print a table."""
    table = Table("measurement", "by", "jobs/s", "CPU per job (µs)", "× requests")
    with (
        tempfile.TemporaryDirectory(prefix="boomerang-bench-") as folder,
        stack(Path(folder), "--latency 0", {"BOOMERANG_RATE_LIMIT": "off"}) as running,
    ):
        base = 0.0
        for cost in measure_client(running, jobs):
            if cost.who == "requests":
                base = cost.cpu
            row = f"{cost.jobs / cost.seconds:,.0f}", f"{cost.cpu:,.0f}", f"{cost.cpu / base:.1f}"
            table.add_row(cost.what, cost.who, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
