"""The learned limit falls on refusals, grows without them, and settles near the provider's own limit."""

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest

from jobs.audit.audit import audit
from jobs.claims import Claim
from jobs.lane_health import CUT, CUT_EVERY, FIRST_LIMIT, HISTORY
from jobs.lanes import LaneSettings
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import Bench

Make = Callable[..., NewJob]
_DONE = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))


def failed(code: str) -> Result:
    return Result(error={"code": code, "message": "no"})


def throttle(store: Store) -> None:
    store.lanes.hold("429: 1303", base=1.0, cap=60.0, throttled=True)


def admit_and_claim(store: Store, count: int) -> list[Claim]:
    """Admit and claim at most `count` jobs."""
    return store.attempts.claim(store.attempts.admit(count).ids)


def run(bench: Bench, store: Store, *, capacity: int, jobs: int, lasting: int) -> tuple[int, int, int]:
    """Play a provider that holds `capacity` images. It ends its oldest task when it has `lasting` tasks or gets none.

    Return how many submissions it accepted, how many it refused, and the most images that were there at once.
    """
    there: deque[Claim] = deque()
    accepted = refused = peak = 0
    while accepted < jobs or there:
        claims = admit_and_claim(store, 20)
        for claim in claims:
            if len(there) >= capacity:
                refused += 1
                throttle(store)
                store.attempts.requeue(claim.id, claim.fence, "429")
            else:
                accepted += 1
                there.append(claim)
                store.attempts.mark_in_progress(claim.id, claim.fence, "t")
            peak = max(peak, len(there))
        if not claims or len(there) >= lasting:
            bench.forward(0.5)
            if there:
                store.attempts.finish(there.popleft().external_task_id, State.COMPLETED, _DONE, "callback")
    return accepted, refused, peak


@pytest.mark.slow
def test_the_limit_settles_near_that_of_the_provider(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(500)])
    accepted, refused, peak = run(bench, store, capacity=20, jobs=500, lasting=1000)
    assert (accepted, peak) == (500, 20)
    assert refused < accepted / 20
    cuts = [change for change in store.lanes.get().history if change.reason == "429: 1303"]
    # Each cut cost few refusals and left the limit near the provider's
    assert len(cuts) >= 3
    assert all(20 * CUT * CUT - 1 <= change.limit <= 20 for change in cuts[:-1])
    assert 10 <= store.lanes.get().limit <= 21
    assert audit(store) == []


@pytest.mark.slow
def test_without_learning_the_provider_refuses_again_and_again(bench: Bench, make: Make) -> None:
    """Show that the provider of the test above does refuse."""
    bench.store.jobs.enqueue([make(f"j{number}") for number in range(100)])
    accepted, refused, _ = run(bench, bench.store, capacity=20, jobs=100, lasting=1000)
    assert refused > accepted / 20


def test_the_limit_never_exceeds_max_in_flight(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True, max_in_flight=8)
    store.jobs.enqueue([make(f"j{number}") for number in range(200)])
    accepted, refused, peak = run(bench, store, capacity=50, jobs=200, lasting=50)
    assert (accepted, refused, peak) == (200, 0, 8)
    assert (store.lanes.get().learned, store.lanes.get().limit) == (8.0, 8)


def test_the_limit_grows_by_one_until_the_first_cut_and_then_slowly(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(100)])
    assert store.lanes.get().learned is None
    claims = admit_and_claim(store, 100)
    assert len(claims) == FIRST_LIMIT
    for number, claim in enumerate(claims[:3], 1):
        store.attempts.mark_in_progress(claim.id, claim.fence, "t")
        assert store.lanes.get().learned == FIRST_LIMIT + number
    # It grows no further until the slots are in use
    store.attempts.mark_in_progress(claims[3].id, claims[3].fence, "t")
    assert store.lanes.get().learned == FIRST_LIMIT + 3
    admit_and_claim(store, 100)
    throttle(store)
    before = (FIRST_LIMIT + 3) * CUT
    assert store.lanes.get().learned == pytest.approx(before)
    store.attempts.mark_in_progress(claims[4].id, claims[4].fence, "t")
    assert store.lanes.get().learned == pytest.approx(before + 1 / before, abs=1e-3)


def test_the_limit_does_not_grow_while_slots_are_free(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(3)])
    for claim in admit_and_claim(store, 100):
        store.attempts.mark_in_progress(claim.id, claim.fence, "t")
    assert store.lanes.get().learned == FIRST_LIMIT


def test_the_limit_grows_when_the_next_job_does_not_fit(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}", n=7) for number in range(3)])
    (claim,) = admit_and_claim(store, 100)
    store.attempts.mark_in_progress(claim.id, claim.fence, "t")
    assert store.lanes.get().learned == FIRST_LIMIT + 1


def test_refusals_of_one_moment_cut_once(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(100)])
    admit_and_claim(store, 100)
    for _ in range(5):
        throttle(store)
    # A refusal that asks for a longer wait cuts no further
    store.lanes.hold("429: 1303", base=1.0, cap=60.0, least=100.0, throttled=True)
    assert store.lanes.get().learned == pytest.approx(FIRST_LIMIT * CUT)
    assert [change.what for change in store.lanes.get().history] == ["limit"]


def test_a_hold_for_another_reason_does_not_cut(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(100)])
    admit_and_claim(store, 100)
    store.lanes.hold("402: balance exhausted", base=15.0, cap=300.0)
    assert store.lanes.get().learned == FIRST_LIMIT


def test_the_limit_never_falls_below_one(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make("a", n=4), make("b")])
    store.attempts.admit(0)
    for _ in range(3):
        throttle(store)
        bench.forward(100)
    assert (store.lanes.get().learned, store.lanes.get().limit) == (1.0, 1)
    # A job of more images is still admitted, alone
    assert store.attempts.admit(10).ids == ("a",)


@pytest.mark.parametrize(("code", "cuts"), [("1302", True), ("1303", True), ("002016095", False), ("1301", False)])
def test_tasks_that_fail_with_too_many_requests_cut_once_per_interval(
    code: str, cuts: bool, bench: Bench, make: Make
) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(100)])
    claims = admit_and_claim(store, 100)
    used = len(claims)
    for claim in claims[:4]:
        store.attempts.mark_in_progress(claim.id, claim.fence, "t")
    before = store.lanes.get().learned
    for claim in claims[:3]:
        store.attempts.finish(claim.external_task_id, State.FAILED, failed(code), "callback")
    assert store.lanes.get().learned == (pytest.approx(used * CUT) if cuts else before)
    bench.forward(CUT_EVERY)
    store.attempts.finish(claims[3].external_task_id, State.FAILED, failed(code), "callback")
    assert store.lanes.get().learned == (pytest.approx((used - 3) * CUT) if cuts else before)


def test_the_history_is_limited_and_newest_first(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make("a")])
    store.attempts.admit(0)
    for number in range(HISTORY + 10):
        store.lanes.hold(f"429: {number}", base=1.0, cap=1.0, throttled=True)
        bench.forward(10)
    history = store.lanes.get().history
    assert len(history) == HISTORY
    assert [history[0].reason, history[-1].reason] == [f"429: {HISTORY + 9}", "429: 10"]
    assert all(newer.at > older.at for newer, older in pairwise(history))


def test_the_learned_limit_is_removed_when_learning_is_turned_off(bench: Bench, make: Make) -> None:
    store = bench.with_settings(learn_limit=True)
    store.jobs.enqueue([make(f"j{number}") for number in range(20)])
    store.attempts.admit(0)
    throttle(store)
    assert store.lanes.get().learned == 1.0
    bench.forward(100)
    bench.store.attempts.admit(0)
    lane = bench.store.lanes.get()
    assert (lane.learned, lane.limit) == (None, 0)


def test_each_lane_learns_its_own_limit(bench: Bench, make: Make) -> None:
    lanes = (LaneSettings(name="a", learn_limit=True, max_in_flight=6), LaneSettings(name="b", max_in_flight=4))
    store = bench.with_settings(named_lanes=lanes)
    store.jobs.enqueue([make(f"j{number}") for number in range(20)])
    claims = [store.attempts.claim(store.attempts.admit(20, lane).ids) for lane in lanes]
    assert [len(each) for each in claims] == [6, 4]
    for lane in lanes:
        store.lanes.hold("429", base=1.0, cap=1.0, throttled=True, lane=lane.name)
    assert [(lane.learned, lane.limit) for lane in store.lanes.get_all()] == [
        (pytest.approx(6 * CUT), 4),
        (None, 4),
    ]


@pytest.mark.parametrize(
    ("most", "learned", "limit"),
    [(0, None, 0), (5, None, 5), (0, 7.9, 7), (5, 7.9, 5), (5, 3.2, 3), (0, 1.0, 1)],
)
def test_the_lower_of_set_and_learned_limit_is_in_force(
    bench: Bench, make: Make, most: int, learned: float | None, limit: int
) -> None:
    store = bench.with_settings(max_in_flight=most, learn_limit=learned is not None)
    store.attempts.admit(0)
    if learned is not None:
        bench.raw.hset(bench.keys.member("lane", "default"), "limit", learned)
    store.jobs.enqueue([make(f"j{number}") for number in range(10)])
    assert store.lanes.get().limit == limit
    # Admission keeps to this limit
    assert len(store.attempts.admit(10).ids) == (limit or 10)
