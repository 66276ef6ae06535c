"""The chart of when the jobs of a batch ended."""

from collections import Counter
from collections.abc import Callable

import pytest

from jobs.batch_ends import COLUMNS, Ends
from jobs.result import Result
from jobs.states import State
from tests.support.bench import Bench, MakeJob

P = "{b}:"


@pytest.fixture
def end(bench: Bench, make: MakeJob) -> Callable[[int], None]:
    """`end(3)`: enqueue and complete three jobs of the batch x."""
    made = Counter[str]()

    def act(count: int) -> None:
        ids = [f"j{made['jobs'] + number}" for number in range(count)]
        made["jobs"] += count
        bench.store.jobs.enqueue([make(each) for each in ids], "x")
        bench.store.attempts.admit(1000)
        for claim in bench.store.attempts.claim(ids):
            bench.store.attempts.finish(claim.id, State.COMPLETED, Result(), "submit", fence=claim.fence)

    return act


def ends_of(bench: Bench) -> Ends:
    found = bench.store.batches.get("x").ends
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("steps", "least"),
    [
        pytest.param([(3, 0)], 1, id="all at once"),
        pytest.param([(2, 7), (1, 7), (4, 7)], 3, id="within the ring"),
        pytest.param([(1, 65)] * 6, 6, id="each in a reused slot of the ring"),
        pytest.param([(1, 40)] * 20, 20, id="for a quarter of an hour"),
        pytest.param([(2, 40 * 3600), (3, 61), (1, 0)], 2, id="after two days"),
        pytest.param([(1, 61), (1, 300 * 86_400), (1, 61), (1, 61)], 2, id="after most of a year"),
    ],
)
def test_no_end_is_left_out_and_the_columns_are_bounded(
    bench: Bench, end: Callable[[int], None], steps: list[tuple[int, int]], least: int
) -> None:
    for count, seconds in steps:
        end(count)
        bench.forward(seconds)
    found = ends_of(bench)
    assert sum(found.counts) == sum(count for count, _ in steps)
    assert least <= sum(map(bool, found.counts))
    assert len(found.counts) <= COLUMNS
    assert found.counts[0] > 0
    # It has ended: nothing follows the last end
    assert found.counts[-1] > 0
    assert bench.audit() == []


def test_while_a_batch_runs_its_chart_goes_on_to_now(bench: Bench, make: MakeJob, end: Callable[[int], None]) -> None:
    end(2)
    bench.store.jobs.enqueue([make("last")], "x")
    bench.forward(100)
    found = ends_of(bench)
    assert found.counts[0] == 2
    assert len(found.counts) * found.seconds >= 100


def test_a_batch_of_which_no_job_ended_has_no_columns(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a")], "x")
    assert ends_of(bench).counts == ()


@pytest.mark.parametrize(
    "text",
    ["", "x", "0 0 1", "1", "1 2", "1 99999999999999999999 3", "-1 -5 2", "nan inf 1", "1 5 " + "7 " * 500, "9" * 400],
)
def test_a_damaged_field_is_found_and_begun_anew(bench: Bench, end: Callable[[int], None], text: str) -> None:
    end(1)
    bench.raw.hset(P + "b:x", "ends", text)
    assert bench.audit() != []
    assert sum(ends_of(bench).counts) == 1
    # The end in the ring leaves it
    bench.forward(60)
    end(1)
    assert sum(ends_of(bench).counts) == 2
    assert bench.audit() == []
