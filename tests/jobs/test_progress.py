from collections.abc import Callable
from typing import Any

import pytest

from jobs.order import NewJob
from jobs.progress import eta, rate
from jobs.record import Result
from jobs.states import State


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        pytest.param({"left": 100}, 50, id="at the rate seen"),
        pytest.param({"left": 100, "queued": 90, "submit_rate": 1.0}, 90, id="not faster than they may be sent"),
        pytest.param({"left": 100, "queued": 90, "submit_rate": 5.0}, 50, id="a limit that does not bind"),
        pytest.param({"left": 100, "queued": 90, "held": 30.0}, 80, id="not before the hold ends"),
        pytest.param({"left": 100, "held": 30.0}, 50, id="a hold that concerns none of them"),
        pytest.param({"left": 100, "queued": 1, "paused": True}, None, id="paused"),
        pytest.param({"left": 100, "paused": True}, 50, id="paused, but all are sent"),
        pytest.param({"left": 100, "per_second": 0.0}, None, id="none has ended"),
        pytest.param({"left": 0, "per_second": 0.0, "paused": True}, 0, id="done"),
    ],
)
def test_eta(facts: dict[str, Any], seconds: float | None) -> None:
    given = {"queued": 0, "per_second": 2.0, "submit_rate": 0.0, "held": 0.0, "paused": False} | facts
    assert eta(**given) == seconds


@pytest.mark.parametrize(
    ("now", "ended", "over"),
    [(60.0, 607, 55), (69.9, 607, 59.9), (110.0, 600, 55), (115.0, 0, 55)],
)
def test_rate_counts_the_last_minute_and_no_more(now: float, ended: int, over: float) -> None:
    # Given 7 ends from 50 s to 55 s, and 600 in the five seconds that follow
    fields = {"r:10": "100000007", "r:11": "110000600", "completed": "607"}
    assert rate(fields, now, created=0.0) == pytest.approx(ended / over)


@pytest.fixture
def ends(bench: Any, make: Callable[..., NewJob]) -> Callable[[int], None]:
    """`ends(3)`: so many jobs of the batch x come in and end."""
    made: list[str] = []

    def end(count: int) -> None:
        ids = [f"j{len(made) + number}" for number in range(count)]
        made.extend(ids)
        bench.store.enqueue([make(each) for each in ids], "x")
        bench.store.admit(1000)
        for claim in bench.store.claim(ids):
            bench.store.finish(claim.id, State.COMPLETED, Result(), "submit", fence=claim.fence)

    return end


def test_a_batch_tells_how_fast_it_goes_and_how_long_it_takes(bench: Any, make: Any, ends: Any) -> None:
    ends(10)
    # Just begun: not a rush
    assert bench.store.batch("x").rate == 10
    bench.forward(20)
    ends(10)
    assert bench.store.batch("x").rate == 1.0
    assert bench.store.batch("x").eta == 0
    bench.store.enqueue([make(f"more{number}") for number in range(50)], "x")
    assert bench.store.batch("x").eta == 50
    assert bench.with_settings(submit_rate=0.5).batch("x").eta == 100
    bench.store.hold("429", base=30, cap=30, least=30)
    assert bench.store.batch("x").eta == 80
    # Long ago
    bench.forward(120)
    assert bench.store.batch("x").rate == 0
    assert bench.store.batch("x").eta is None


def test_a_span_that_comes_round_again_begins_anew(bench: Any, ends: Any) -> None:
    ends(30)
    bench.forward(600)
    ends(6)
    assert bench.store.batch("x").rate == pytest.approx(6 / 55, rel=0.1)
    assert bench.audit() == []


def test_cancelled_jobs_are_no_progress(bench: Any, make: Any) -> None:
    bench.store.enqueue([make("a"), make("b")], "x")
    bench.store.cancel_batch("x")
    assert bench.store.batch("x").rate == 0


def test_telling_progress_looks_at_no_job(bench: Any, ends: Any) -> None:
    ends(500)
    bench.store.batch("x")
    bench.raw.config_resetstat()
    bench.store.batch("x")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in bench.raw.info("commandstats").items()}
    assert calls.pop("hgetall") == 1
    assert sum(calls.values()) <= 6
