"""`python -m ops.bench.safety`: the cost of a second Redis, and of `appendfsync always`.

One stack has separate Redis servers for jobs and broker, another has one for both. They are measured in turn, each with
`appendfsync always` and `everysec`, so that other load on the machine affects all measurements alike.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import redis
from rich.console import Console
from rich.table import Table

from boomerang_client import Client
from ops.bench.harness import generations
from ops.bench.rates import whole_path
from ops.local.redis_server import Fsync, running
from ops.local.stack import LocalStack, Options

#: Jobs enqueued one after another, one per request.
SINGLE = 300


@dataclass
class Measured:
    """Results of one combination, one per run: jobs per second of the whole path, milliseconds of one enqueue."""

    rates: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)


@contextmanager
def _stack(folder: Path, *, one_redis: bool) -> Iterator[LocalStack]:
    with ExitStack() as held:
        # Without Redis users: they may not use queues in the jobs' Redis, and none may change appendfsync.
        jobs = held.enter_context(running(folder / "jobs"))
        broker = jobs if one_redis else held.enter_context(running(folder / "messages", fsync=Fsync.EVERYSEC))
        options = Options(
            folder=folder / "stack",
            flower=False,
            simulator="--latency 0",
            warnings=False,
            redis_url=jobs.url,
            broker_url=broker.url,
        )
        yield held.enter_context(LocalStack(options, lambda *_: None))


def _single(stack: LocalStack, name: str) -> float:
    """Return the median milliseconds of `POST /v1/jobs`, sent one after another."""
    waits = []
    with Client(stack.url, stack.key) as client:
        for number, request in enumerate(generations(SINGLE)):
            begin = time.perf_counter()
            client.enqueue({**request, "external_task_id": f"{name}-{number}"})
            waits.append((time.perf_counter() - begin) * 1000)
    return statistics.median(waits)


@click.command()
@click.option("--jobs", default=3000, show_default=True, help="Number of jobs in each measurement of the whole path.")
@click.option(
    "--runs", default=3, show_default=True, help="Number of rounds; the best result of each combination counts."
)
def main(jobs: int, runs: int) -> None:
    """Run the benchmark and print a table."""
    console = Console()
    measured = {(one, fsync): Measured() for one in (False, True) for fsync in Fsync}
    with (
        tempfile.TemporaryDirectory(prefix="boomerang-bench-") as name,
        _stack(Path(name, "two"), one_redis=False) as two,
        _stack(Path(name, "one"), one_redis=True) as one,
    ):
        for turn in range(runs):
            for (alone, fsync), found in measured.items():
                console.print(f"measuring round {turn + 1}, {_name(alone, fsync)} …", style="dim")
                stack, tag = one if alone else two, f"{turn}-{fsync}"
                with redis.Redis.from_url(stack.redis_url) as client:
                    client.config_set("appendfsync", fsync.value)
                found.single.append(_single(stack, f"single-{tag}"))
                found.rates.append(whole_path(stack, jobs, f"whole-{tag}"))
    table = Table(
        "setup", "whole path", "POST /v1/jobs, median", title="The cost of safety (docs/explanation/benchmarks.md)"
    )
    for (alone, fsync), found in measured.items():
        table.add_row(_name(alone, fsync), f"{max(found.rates):,.0f} jobs/s", f"{min(found.single):.1f} ms")
    console.print(table)


def _name(alone: bool, fsync: Fsync) -> str:  # noqa: FBT001 - part of the row's name
    return ("one Redis for both, " if alone else "separate Redis servers, ") + f"jobs {fsync}"


if __name__ == "__main__":
    main()
