from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from jobs.new_job import BatchOptions
from jobs.result import Result
from jobs.store.store import Store
from tests.support.bench import IMAGES, Bench, InThread, MakeJob, OpenBench, Priced, bench_on, new


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with bench_on(redis_url) as made:
        yield made


@pytest.fixture
def open_bench() -> OpenBench:
    """`with open_bench(url) as bench`: a bench on another Redis than the one that all tests share."""
    return bench_on


@pytest.fixture
def make() -> MakeJob:
    """`make("id", n=2, owed="nc")`: a new job, not yet enqueued."""
    return new


@pytest.fixture
def fill(bench: Bench, make: MakeJob) -> Callable[..., Any]:
    """`fill("x", 3, weight=2)`: add three jobs to a batch, `x0 x1 x2`."""
    sizes: Counter[str] = Counter()

    def fill(batch: str, count: int, *, store: Store | None = None, n: int = 1, **options: Any) -> None:
        jobs = [make(f"{batch}{sizes[batch] + number}", n=n) for number in range(count)]
        sizes[batch] += count
        (store or bench.store).jobs.enqueue(jobs, batch, BatchOptions(**options))

    return fill


@pytest.fixture
def priced() -> Priced:
    """`priced("0.01")`: a result with an image, and its cost in USD."""
    return lambda cost: Result(output=IMAGES.output, cost=Decimal(cost))


@pytest.fixture
def in_thread() -> Iterator[InThread]:
    """`in_thread(work)` runs it in a thread. Call what it returns with a `timeout` in seconds to get the result."""
    with ThreadPoolExecutor(4) as pool:
        yield lambda work: pool.submit(work).result
