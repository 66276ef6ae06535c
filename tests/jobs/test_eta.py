from collections.abc import Callable
from typing import Any

import pytest

from jobs.eta import Pace, eta, pace, rate, share
from jobs.job import Priority
from jobs.key_limits import KeyLimits
from jobs.result import Result
from jobs.states import State
from tests.support.bench import Bench, MakeJob

NONE_YET = {"left": 100, "queued": 90, "per_second": 0.0}
YOUNG = {"left": 100, "queued": 90, "per_second": 0.1, "pace": Pace(60.0, jobs=2.0)}


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        pytest.param({"left": 100}, 50, id="at the rate of the last minute"),
        pytest.param({"left": 100, "queued": 90, "submit_rate": 1.0}, 90, id="no faster than submit_rate"),
        pytest.param({"left": 100, "queued": 90, "submit_rate": 5.0}, 50, id="submit_rate above the measured rate"),
        pytest.param({"left": 100, "queued": 90, "held": 30.0}, 80, id="during a hold"),
        pytest.param({"left": 100, "held": 30.0}, 50, id="a hold with nothing queued"),
        pytest.param({"left": 100, "queued": 1, "paused": True}, None, id="paused"),
        pytest.param({"left": 100, "paused": True}, 50, id="paused with nothing queued"),
        pytest.param({"left": 100, "per_second": 0.0}, None, id="no job has ended"),
        pytest.param({"left": 0, "per_second": 0.0, "paused": True}, 0, id="done"),
        # Before any job has ended, the lanes' pace counts
        pytest.param(
            NONE_YET | {"pace": Pace(60.0, jobs=2.0)}, 105, id="the lanes' pace and the duration of the last job"
        ),
        pytest.param(NONE_YET | {"pace": Pace(60.0, jobs=2.0), "held": 30.0}, 135, id="after the hold"),
        pytest.param(NONE_YET | {"pace": Pace(60.0, jobs=2.0, share=0.5)}, 150, id="beside another batch"),
        pytest.param(NONE_YET | {"pace": Pace(60.0)}, None, id="no limit and no end: nothing to estimate from"),
        pytest.param(NONE_YET | {"queued": 0, "pace": Pace(60.0)}, 60, id="no limit, all at the provider"),
        pytest.param(NONE_YET | {"queued": 0, "held": 30.0, "pace": Pace(60.0, jobs=2.0)}, 60, id="nothing queued"),
        pytest.param(NONE_YET | {"pace": Pace(60.0, jobs=2.0), "paused": True}, None, id="paused before any ended"),
        pytest.param(NONE_YET | {"pace": Pace(jobs=2.0)}, None, id="the duration of jobs is unknown"),
        # The batch is too young for its own rate: the wait for its first end was no slowness
        pytest.param(YOUNG | {"age": 100.0}, 105, id="young: the lanes' pace"),
        pytest.param(YOUNG | {"age": 120.0}, 1000, id="old enough: its own rate"),
    ],
)
def test_eta_follows_the_rate_or_the_pace_of_the_lanes(facts: dict[str, Any], seconds: float | None) -> None:
    given = {"queued": 0, "per_second": 2.0, "submit_rate": 0.0, "held": 0.0, "paused": False} | facts
    assert eta(**given) == seconds


@pytest.mark.parametrize(
    ("now", "ended", "over"),
    [(60.0, 607, 55), (69.9, 607, 59.9), (110.0, 600, 55), (115.0, 0, 55)],
)
def test_the_rate_is_that_of_the_last_minute(now: float, ended: int, over: float) -> None:
    # Given 7 ends from 50 s to 55 s, and 600 in the next five seconds
    fields = {"r:10": "100000007", "r:11": "110000600", "completed": "607"}
    assert rate(fields, now, begun=0.0) == pytest.approx(ended / over)


@pytest.fixture
def ends(bench: Bench, make: MakeJob) -> Callable[[int], None]:
    """`ends(3)`: enqueue and complete three jobs of the batch x."""
    made: list[str] = []

    def end(count: int) -> None:
        ids = [f"j{len(made) + number}" for number in range(count)]
        made.extend(ids)
        bench.store.jobs.enqueue([make(each) for each in ids], "x")
        bench.store.attempts.admit(1000)
        for claim in bench.store.attempts.claim(ids):
            bench.store.attempts.finish(claim.id, State.COMPLETED, Result(), "submit", fence=claim.fence)

    return end


def test_a_batch_has_a_rate_and_an_eta(bench: Bench, make: MakeJob, ends: Callable[[int], None]) -> None:
    ends(10)
    # A rate over less than a second counts as that of one second
    assert bench.store.batches.get("x").rate == 10
    bench.forward(20)
    ends(10)
    assert bench.store.batches.get("x").rate == 1.0
    assert bench.store.batches.get("x").eta == 0
    bench.store.jobs.enqueue([make(f"more{number}") for number in range(50)], "x")
    assert bench.store.batches.get("x").eta == 50
    assert bench.with_settings(submit_rate=0.5).batches.get("x").eta == 100
    bench.store.lanes.hold("429", base=30, cap=30, least=30)
    assert bench.store.batches.get("x").eta == 80
    # No job has ended in the last minute
    bench.forward(120)
    assert bench.store.batches.get("x").rate == 0
    assert bench.store.batches.get("x").eta is None


def test_a_reused_time_slot_starts_at_zero(bench: Bench, ends: Callable[[int], None]) -> None:
    ends(30)
    bench.forward(600)
    ends(6)
    assert bench.store.batches.get("x").rate == pytest.approx(6 / 55, rel=0.1)
    assert bench.audit() == []


def test_cancelled_jobs_do_not_count_in_the_rate(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b")], "x")
    bench.store.batches.cancel("x")
    assert bench.store.batches.get("x").rate == 0


def test_the_rate_and_the_eta_read_no_job(bench: Bench, ends: Callable[[int], None]) -> None:
    ends(500)
    bench.store.batches.get("x")
    bench.raw.config_resetstat()
    bench.store.batches.get("x")
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in bench.raw.info("commandstats").items()}
    assert calls.pop("hgetall") == 2  # the batch, and the queues that wait beside it
    assert sum(calls.values()) <= 8


A, B = {"took": 60e6, "work": 120e6}, {"took": 30e6, "work": 30e6}
NEW = {"took": 0, "work": 0}


@pytest.mark.parametrize(
    ("learned", "limits", "expected"),
    [
        pytest.param({}, {}, Pace(), id="no lane"),
        pytest.param({"a": NEW}, {"a": (10, 0.0)}, Pace(), id="no job has ended there"),
        pytest.param({"a": A}, {"a": (0, 0.0)}, Pace(60.0), id="no limit"),
        pytest.param({"a": A}, {"a": (12, 0.0)}, Pace(60.0, 0.1), id="by slots: each job uses two for a minute"),
        pytest.param({"a": A}, {"a": (12, 0.05)}, Pace(60.0, 0.05), id="by rate"),
        pytest.param({"a": A}, {"a": (0, 0.5)}, Pace(60.0, 0.5), id="by rate alone"),
        pytest.param({"a": A, "b": B}, {"a": (15, 0.0), "b": (30, 0.0)}, Pace(45.0, 0.6), id="two lanes"),
        pytest.param(
            {"a": A, "b": NEW}, {"a": (12, 0.0), "b": (12, 0.0)}, Pace(60.0, 0.2), id="a new lane counts like the other"
        ),
        pytest.param({"a": A, "b": B}, {"a": (15, 0.0), "b": (0, 0.0)}, Pace(45.0), id="one of two without a limit"),
        pytest.param({"gone": A}, {}, Pace(60.0), id="a lane that is no longer configured"),
    ],
)
def test_the_pace_of_lanes_comes_from_their_slots_and_rates(learned: Any, limits: Any, expected: Pace) -> None:
    found = pace(learned, limits)
    assert (found.took, found.jobs) == (expected.took, pytest.approx(expected.jobs))


LIMITS = {
    "big": KeyLimits(weight=3),
    "first": KeyLimits(priority=Priority.HIGH),
    "last": KeyLimits(priority=Priority.LOW),
}


@pytest.mark.parametrize(
    ("flows", "weight", "expected"),
    [
        pytest.param({}, 1, 1.0, id="alone, nothing queued"),
        pytest.param({"1|shop": 1}, 1, 1.0, id="alone"),
        pytest.param({"1|shop": 4}, 1, 1 / 4, id="beside three batches of its key"),
        pytest.param({"1|shop": 4}, 3, 3 / 4, id="by weight"),
        pytest.param({"1|shop": 1, "1|press": 50}, 1, 1 / 2, id="beside another key, however many batches it has"),
        pytest.param({"1|shop": 2, "1|big": 1}, 1, 1 / 8, id="beside a key with more weight"),
        pytest.param(
            {"1|shop": 1, "0|press": 1, "2|late": 9}, 1, 1 / 3, id="beside other keys, whatever their classes"
        ),
        pytest.param(
            {"0|shop": 1, "1|shop": 1, "2|shop": 9}, 1, 1 / 2, id="its key's higher classes count, lower ones do not"
        ),
        pytest.param({"1|shop": 1, "1|first": 1, "1|last": 1}, 1, 1 / 2, id="keys of a lower rank do not count"),
        pytest.param({"1|press": 0}, 1, 1.0, id="nothing waits"),
    ],
)
def test_the_share_of_a_batch_follows_the_weights(flows: dict[str, int], weight: int, expected: float) -> None:
    assert share(flows, LIMITS, "1", "shop", weight) == pytest.approx(expected)


def test_the_eta_before_the_first_end_uses_what_the_lane_has_learned(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(max_in_flight=4)

    def complete(ids: list[str], seconds: float) -> None:
        store.attempts.admit(100)
        claims = store.attempts.claim(ids)
        assert all(store.attempts.mark_many_in_progress([(claim.id, claim.fence, "t") for claim in claims]))
        bench.forward(seconds)
        for claim in claims:
            assert (
                store.attempts.finish(claim.id, State.COMPLETED, Result(), "poll", fence=claim.fence).outcome
                == "finished"
            )

    # Given jobs of two images that took 20 s at the provider
    store.jobs.enqueue([make("a", n=2), make("b", n=2)])
    complete(["a", "b"], 20)
    # Then 4 slots complete a job of two images every 10 s
    store.jobs.enqueue([make(f"x{number}", n=2) for number in range(30)], "x")
    assert store.batches.get("x").eta == pytest.approx(30 * 10 + 20)
    # And two batches get half of it each
    store.jobs.enqueue([make(f"y{number}", n=2) for number in range(30)], "y")
    assert store.batches.get("x").eta == pytest.approx(30 * 20 + 20)
    # Longer durations are learned step by step
    store.batches.cancel("y")
    complete(["x0", "x1"], 180)
    assert float(bench.lane()["took"]) == pytest.approx(39.375e6)
    assert float(bench.lane()["work"]) == pytest.approx(78.75e6)
    # Once jobs of its own have ended, the batch's own rate counts
    assert store.batches.get("x").eta == pytest.approx(28 / store.batches.get("x").rate)
    assert bench.audit() == []


def test_only_the_time_at_the_provider_is_learned(bench: Bench) -> None:
    bench.put(State.CANCELLED, "gone")
    bench.put(State.IN_DOUBT, "doubt")
    assert bench.store.attempts.finish("doubt", State.COMPLETED, Result(), "callback").outcome == "finished"
    assert "took" not in bench.lane()
