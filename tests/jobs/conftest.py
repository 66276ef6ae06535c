from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from jobs.job import Result
from tests.support.bench import PICTURES, Bench, InThread, MakeJob, OpenBench, Priced, bench_on, new


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with bench_on(redis_url) as made:
        yield made


@pytest.fixture
def open_bench() -> OpenBench:
    """`with open_bench(url) as bench`: on another Redis than that of all tests."""
    return bench_on


@pytest.fixture
def make() -> MakeJob:
    """`make("id", n=2, owed="nc")`: a job to enqueue."""
    return new


@pytest.fixture
def priced() -> Priced:
    """`priced("0.01")`: a result with pictures that cost so much."""
    return lambda cost: Result(output=PICTURES.output, cost=Decimal(cost))


@pytest.fixture
def in_thread() -> Iterator[InThread]:
    """`in_thread(work)` begins it; the answer, called with a `timeout`, gives its result."""
    with ThreadPoolExecutor(4) as pool:
        yield lambda work: pool.submit(work).result
