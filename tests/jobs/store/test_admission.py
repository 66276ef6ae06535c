"""The order of admission: batches and producers' keys, weights, priorities, lanes, expiry, delays."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.audit.audit import audit
from jobs.errors import NoLane, NotAllowed
from jobs.job import Delivery, Priority
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions, NewJob
from jobs.policy import RECHECK
from jobs.result import Result
from jobs.states import State
from schemas import load_request
from tests.support.bench import Bench

Make = Callable[..., NewJob]
_RESULT = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))
_BUSY = Result(error={"code": "1302", "message": "too fast"})


def shares(ids: tuple[str, ...]) -> Counter[str]:
    """Count the admitted jobs of each batch, by the letter that its ids begin with."""
    return Counter(job_id[0] for job_id in ids)


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_a_small_batch_behind_a_large_one_begins_at_once(bench: Bench, fill: Callable[..., None]) -> None:
    fill("x", 1000)
    bench.store.attempts.admit(100)
    fill("y", 10)
    assert shares(bench.store.attempts.admit(20).ids) == {"x": 10, "y": 10}
    assert bench.audit() == []


def test_batches_share_by_weight(bench: Bench, fill: Callable[..., None]) -> None:
    fill("x", 100, weight=3)
    fill("y", 100)
    assert shares(bench.store.attempts.admit(40).ids) == {"x": 30, "y": 10}


def test_shares_are_counted_in_images(bench: Bench, fill: Callable[..., None]) -> None:
    fill("x", 50, n=4)
    fill("y", 200)
    assert shares(bench.store.attempts.admit(50).ids) == {"x": 10, "y": 40}


def test_keys_share_equally_however_many_batches_they_have(bench: Bench, fill: Callable[..., None]) -> None:
    for batch in "abcd":
        fill(batch, 100, owner="shop")
    fill("x", 100, owner="press")
    admitted = shares(bench.store.attempts.admit(80).ids)
    assert (admitted["x"], sum(admitted[batch] for batch in "abcd")) == (40, 40)
    assert {admitted[batch] for batch in "abcd"} == {10}


def test_keys_share_by_weight_also_without_batches(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    store = bench.with_settings(key_limits={"shop": KeyLimits(weight=3)})
    fill("x", 100, owner="shop", store=store)
    store.jobs.enqueue([make(f"s{number}", owner="press") for number in range(100)])
    assert shares(store.attempts.admit(40).ids) == {"x": 30, "s": 10}


def test_a_paused_batch_saves_up_no_share(bench: Bench, fill: Callable[..., None]) -> None:
    fill("x", 100)
    fill("y", 100)
    bench.store.batches.pause("y")
    bench.store.attempts.admit(50)
    bench.store.batches.resume("y")
    assert shares(bench.store.attempts.admit(20).ids) == {"x": 10, "y": 10}


def test_a_batch_whose_jobs_come_one_by_one_gets_only_its_share(bench: Bench, fill: Callable[..., None]) -> None:
    fill("x", 200)
    admitted: Counter[str] = Counter()
    for _ in range(50):
        # Its queue is empty after each admission, so it joins again and again.
        fill("y", 1)
        admitted += shares(bench.store.attempts.admit(2).ids)
    assert abs(admitted["x"] - admitted["y"]) <= 2
    assert bench.audit() == []


@pytest.mark.slow
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    sizes=st.lists(st.integers(1, 4), min_size=5, max_size=5),
    step=st.integers(1, 7),
)
def test_no_queue_leads_by_more_than_the_bound_of_fair_queueing(
    bench: Bench, weights: list[int], sizes: list[int], step: int
) -> None:
    """Start-time fair queueing's bound: |W_f/r_f - W_g/r_g| ≤ l_f/r_f + l_g/r_g (Goyal, Vin, Cheng 1996, theorem 1)."""
    bench.start_afresh()
    n = {}
    for number, weight in enumerate(weights):
        batch = "abcde"[number]
        jobs = [NewJob(id=f"{batch}{k}", text="{}", model="m", n=sizes[number]) for k in range(40)]
        bench.store.jobs.enqueue(jobs, batch, BatchOptions(weight=weight, owner="shop"))
        n[batch] = sizes[number]
    served: Counter[str] = Counter()
    for _ in range(40 // step):
        for job_id in bench.store.attempts.admit(step).ids:
            served[job_id[0]] += n[job_id[0]]
        for f, weight_f in zip(n, weights, strict=False):
            for g, weight_g in zip(n, weights, strict=False):
                apart = abs(served[f] / weight_f - served[g] / weight_g)
                assert apart <= n[f] / weight_f + n[g] / weight_g + 1e-9
    assert audit(bench.store) == []


# --- priorities -------------------------------------------------------------------------------------------------------


def test_a_higher_priority_is_admitted_first(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    fill("l", 3, priority=Priority.LOW)
    fill("n", 3)
    fill("h", 3, priority=Priority.HIGH)
    assert [job_id[0] for job_id in bench.store.attempts.admit(9).ids] == [*"hhhnnnlll"]
    assert bench.store.batches.get("h").priority is Priority.HIGH
    assert bench.audit() == []


def test_a_jobs_own_priority_overrides_its_batchs(bench: Bench, make: Make) -> None:
    low = BatchOptions(priority=Priority.LOW)
    bench.store.jobs.enqueue(
        [make("a"), make("b", priority=Priority.HIGH), make("c", priority=Priority.NORMAL)], "x", low
    )
    assert bench.store.jobs.get("b").priority is Priority.HIGH
    # A pause stops all queues of the batch, and a cancel empties them.
    bench.store.batches.pause("x")
    assert bench.store.attempts.admit(3).ids == ()
    bench.store.batches.resume("x")
    assert bench.store.attempts.admit(2).ids == ("b", "c")
    bench.store.batches.cancel("x")
    assert bench.slots() == (0, 0)
    assert bench.store.statistics.totals().ready == {"": 0}
    assert bench.audit() == []


# --- lanes ------------------------------------------------------------------------------------------------------------


LANES = pooled(
    [
        LaneSettings(name="ref", models=("kirin_v2_1_*",), max_in_flight=2),
        LaneSettings(name="berlin", labels={"shop": "berlin"}),
        LaneSettings(name="a", max_in_flight=2),
        LaneSettings(name="b", max_in_flight=2),
    ]
)


@pytest.mark.parametrize(
    ("request_", "pool"),
    [
        ({"model": "kirin_image_omni", "prompt": "a fox"}, ""),
        ({"model": "kirin_image_omni", "prompt": "a fox", "labels": {"shop": "berlin", "x": "y"}}, "berlin"),
        ({"model": "kirin_image_omni", "prompt": "a fox", "labels": {"shop": "rome"}}, ""),
    ],
)
def test_a_job_is_routed_to_the_first_lane_that_takes_it(request_: dict[str, Any], pool: str) -> None:
    assert NewJob.of(load_request(request_), "fox", LANES).pool == pool


def test_a_jobs_own_labels_override_its_batchs_in_routing() -> None:
    plain = load_request({"model": "kirin_image_omni", "prompt": "a fox"})
    rome = load_request({"model": "kirin_image_omni", "prompt": "a fox", "labels": {"shop": "rome"}})
    assert NewJob.of(plain, "fox", LANES, batch_labels={"shop": "berlin"}).pool == "berlin"
    assert NewJob.of(rome, "fox", LANES, batch_labels={"shop": "berlin"}).pool == ""


def test_a_job_that_no_lane_takes_is_refused() -> None:
    with pytest.raises(NoLane, match="kirin_image_omni"):
        NewJob.of(load_request({"model": "kirin_image_omni", "prompt": "a fox"}), "fox", LANES[:2])


def test_two_accounts_of_a_pool_share_its_jobs_and_keep_their_own_slots(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    a, b = LANES[2:]
    store.jobs.enqueue([make(f"j{number}") for number in range(6)])
    store.jobs.enqueue([make("r1", pool="ref")])
    assert store.attempts.admit(10, a).ids == ("j0", "j1")
    # The other lane is on hold, and delays no job
    store.lanes.hold("402: balance exhausted", base=60, cap=60, lane="b")
    assert store.attempts.admit(10, b).ids == ()
    claims = store.attempts.claim(["j0", "j1"])
    assert {claim.lane for claim in claims} == {"a"}
    assert (store.lanes.get("a").slots, store.lanes.get("b").slots) == (2, 0)
    store.attempts.mark_in_progress("j0", claims[0].fence, "t")
    assert store.attempts.finish("j0", State.COMPLETED, result=_RESULT, settled_by="callback").admit_hint
    assert store.attempts.admit(10, a).ids == ("j2",)
    bench.forward(61)
    bench.hints_arrive()
    # After a hold one job goes first
    assert store.attempts.admit(10, b).ids == ("j3",)
    assert store.attempts.admit(10, LANES[0]).ids == ("r1",)
    assert audit(store) == []


def test_a_job_that_may_have_reached_an_account_goes_to_no_other(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    a, b = LANES[2:]
    store.jobs.enqueue([make("fox")])
    store.attempts.admit(1, a)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    assert store.attempts.requeue("fox", claim.fence, "absent after 2 look-ups") == "queued"
    assert store.attempts.admit(1, b).ids == ()
    assert store.attempts.admit(1, a).ids == ("fox",)
    assert audit(store) == []


def test_a_job_that_surely_did_not_reach_an_account_may_go_to_another(bench: Bench, make: Make) -> None:
    store = bench.with_settings(named_lanes=LANES)
    a, b = LANES[2:]
    store.jobs.enqueue([make("fox")])
    store.attempts.admit(1, a)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.requeue("fox", claim.fence, "429")
    assert store.attempts.admit(1, b).ids == ("fox",)
    (claim,) = store.attempts.claim(["fox"])
    assert (claim.lane, store.lanes.get("a").slots, store.lanes.get("b").slots) == ("b", 0, 1)
    assert audit(store) == []


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found_by", ["alarm", "admission", "claim"])
def test_a_job_not_begun_in_time_expires_unpaid(bench: Bench, make: Make, found_by: str) -> None:
    store = bench.store
    store.jobs.enqueue([make("fox", expires_in=60, owed="n")], "x")
    assert bench.alarm("fox") == 60
    if found_by == "claim":
        store.attempts.admit(1)
        bench.forward(61)
        assert store.attempts.claim(["fox"]) == []
    else:
        bench.forward(61)
        assert (store.attempts.claim_due(1) if found_by == "alarm" else store.attempts.admit(1)) is not None
    job = store.jobs.get("fox")
    assert (job.state, job.settled_by, job.phase, job.owed) == (State.EXPIRED, "expires_in", None, {Delivery.NOTIFY})
    assert "expires_in" in (job.reason or "")
    assert (bench.slots(), bench.alarm("fox"), store.batches.get("x").done) == ((0, 0), 0, True)
    assert bench.audit() == []


def test_a_job_begun_in_time_does_not_expire(bench: Bench, make: Make) -> None:
    store = bench.store
    store.jobs.enqueue([make("fox", expires_in=60)])
    bench.claimed()
    bench.forward(61)
    # Its first attempt failed; the second one has no expiry
    store.attempts.finish("fox", State.FAILED, _BUSY, "callback")
    bench.forward(bench.alarm("fox") or 0)
    store.attempts.claim_due(1)
    assert store.attempts.admit(1).ids == ("fox",)


def test_a_retried_job_has_no_expiry(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox", expires_in=60)])
    bench.forward(61)
    bench.store.attempts.claim_due(1)
    bench.store.jobs.retry("fox")
    assert bench.store.attempts.admit(1).ids == ("fox",)
    assert bench.store.attempts.claim(["fox"])


def test_jobs_of_a_paused_batch_expire(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("a", expires_in=60), make("b")], "x")
    bench.store.batches.pause("x")
    bench.forward(61)
    bench.store.attempts.claim_due(10)
    assert bench.store.jobs.get("a").state is State.EXPIRED
    assert bench.audit() == []


def test_a_delayed_job_waits_outside_the_queue(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("later", delay=100), make("now")])
    assert bench.store.attempts.admit(10).ids == ("now",)
    bench.store.attempts.claim(["now"])
    assert bench.alarm("later") == 100
    assert bench.audit() == []
    bench.forward(100)
    assert bench.store.attempts.claim_due(10).admit_hint
    assert bench.store.attempts.admit(10).ids == ("later",)


# --- one job paused ---------------------------------------------------------------------------------------------------


def test_others_pass_a_paused_job_and_it_keeps_its_place(bench: Bench, make: Make) -> None:
    store = bench.store
    store.jobs.enqueue([make("a"), make("b"), make("c")])
    store.jobs.pause("a")
    assert store.jobs.with_reason(store.jobs.get("a")).reason == "paused on request"
    assert store.attempts.admit(1).ids == ("b",)
    bench.forward(RECHECK)
    store.attempts.claim_due(10)  # its alarm changes nothing
    assert bench.audit() == []
    bench.hints_arrive()
    assert store.jobs.resume("a").admit_hint
    assert store.attempts.admit(1).ids == ("a",)


def test_a_dispatched_job_that_is_paused_is_not_claimed(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("a", n=2)])
    bench.store.attempts.admit(1)
    bench.store.jobs.pause("a")
    assert bench.slots() == (0, 0)
    assert bench.store.attempts.claim(["a"]) == []
    assert bench.store.attempts.admit(1).ids == ()
    bench.store.jobs.resume("a")
    assert bench.store.attempts.admit(1).ids == ("a",)
    assert bench.audit() == []


def test_a_pause_during_its_delay_does_not_change_when_a_job_goes(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("soon", delay=100), make("late", delay=100)])
    bench.store.jobs.pause("soon")
    bench.store.jobs.pause("late")
    bench.store.jobs.resume("soon")
    assert bench.store.attempts.admit(10).ids == ()
    bench.forward(100)
    bench.store.attempts.claim_due(10)
    assert bench.store.attempts.admit(10).ids == ("soon",)
    bench.store.jobs.resume("late")
    assert bench.store.attempts.admit(10).ids == ("late",)
    assert bench.audit() == []


def test_only_a_queued_job_can_be_paused(bench: Bench, make: Make) -> None:
    bench.put(State.IN_PROGRESS)
    with pytest.raises(NotAllowed, match="cancel it"):
        bench.store.jobs.pause("fox")
    with pytest.raises(NotAllowed, match="nothing to resume"):
        bench.store.jobs.resume("fox")


def test_a_paused_job_that_is_cancelled_and_retried_is_not_paused(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("a")])
    bench.store.jobs.pause("a")
    bench.store.jobs.cancel("a")
    bench.store.jobs.retry("a")
    assert bench.store.attempts.admit(1).ids == ("a",)
    assert bench.audit() == []
