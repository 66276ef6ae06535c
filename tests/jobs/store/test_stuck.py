"""Exactly what does not continue by itself is listed: since when, why, and the command that settles it."""

from decimal import Decimal
from typing import Any

import pytest

from jobs.errors import ImageNotFound
from jobs.job import Delivery
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions
from jobs.result import Result
from jobs.settings import Settings
from jobs.states import State
from jobs.store.store import Store
from jobs.store.stuck import DeadEnd, Kind, counted, dead_ends
from tests.support.bench import Bench, MakeJob, Priced


def found(bench: Bench, longer_than: float = 600.0, **more: Any) -> list[DeadEnd]:
    return list(dead_ends(bench.store, longer_than, **more))


def test_jobs_that_continue_by_themselves_are_not_stuck(bench: Bench) -> None:
    for state in State:
        bench.put(state, state.value, owed="n")
    assert found(bench) == []
    assert set(counted(bench.store, bench.store.lanes.get_all()).values()) == {0}


def test_a_job_in_doubt_for_long_is_stuck(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "409", exists=True)
    bench.forward(599)
    assert found(bench) == []
    bench.forward(1)
    (end,) = found(bench)
    assert (end.kind, end.id) == (Kind.IN_DOUBT, "fox")
    assert end.since == bench.store.jobs.get("fox").doubt_since
    assert "409" in end.why
    assert "provider confirmed" in end.why
    assert end.do == "boomerang-server settle fox --sent TASK_ID | --not-sent | --failed"
    assert counted(bench.store, bench.store.lanes.get_all())[Kind.IN_DOUBT] == 1


def test_a_cancelled_job_in_doubt_is_stuck_with_its_slots(bench: Bench) -> None:
    bench.put(State.IN_DOUBT)
    bench.store.jobs.cancel("fox")
    (end,) = found(bench, 0.0)
    assert "cancelled" in end.why


@pytest.mark.parametrize("how", ["mark_in_progress", "finish", "requeue", "cancel and requeue"])
def test_a_settled_job_is_no_longer_stuck(bench: Bench, how: str) -> None:
    bench.put(State.IN_DOUBT)
    fence = bench.store.jobs.get("fox").fence
    match how:
        case "mark_in_progress":
            bench.store.attempts.mark_in_progress("fox", fence, "t")
        case "finish":
            bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback")
        case "requeue":
            bench.store.attempts.requeue("fox", fence, "absent")
        case _:
            bench.store.jobs.cancel("fox")
            bench.store.attempts.requeue("fox", fence, "absent")
    assert found(bench, 0.0) == []


def test_the_oldest_are_listed_first_up_to_the_limit(bench: Bench) -> None:
    for job_id in ("a", "b", "c"):
        bench.put(State.IN_DOUBT, job_id)
        bench.forward(1)
    assert [end.id for end in found(bench, 2.0)] == ["a", "b"]
    assert [end.id for end in found(bench, 0.0, most=1)] == ["a"]


def test_a_delivery_that_was_given_up_is_stuck(bench: Bench) -> None:
    bench.put(State.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.give_up(due, Delivery.NOTIFY, "it answered 404")
    (end,) = found(bench)
    assert (end.kind, end.id, end.do) == (Kind.DELIVERY, "fox", "boomerang-server redeliver fox")
    assert all(fact in end.why for fact in ("completed", "callback_url", "it answered 404"))
    assert counted(bench.store, bench.store.lanes.get_all())[Kind.DELIVERY] == 1


def test_lanes_that_are_held_silent_or_no_longer_configured_are_stuck(store: Store) -> None:
    names = ("default", "held", "silent", "gone")
    every = Store(store.context.client, Settings(named_lanes=pooled([LaneSettings(name=name) for name in names])))
    every.lanes.hold("402: balance exhausted", base=900.0, cap=900.0, lane="held")
    client, keys = store.context.client, store.context.keys
    client.hset(
        keys.member("lane", "silent"), mapping={"open": 1, "because": "read timed out", "probe": 1, "probes": 1}
    )
    client.hset(keys.member("lane", "gone"), "slots", 2)
    client.sadd(keys.singleton("lanes"), "gone")
    three = Store(client, Settings(named_lanes=pooled([LaneSettings(name=name) for name in names[:3]])))
    ends = {end.id: end for end in dead_ends(three, 0.0)}
    assert set(ends) == {"held", "silent", "gone"}
    assert {end.kind for end in ends.values()} == {Kind.LANE}
    assert "402" in ends["held"].why
    assert "circuit breaker" in ends["silent"].why
    assert "2 slots" in ends["gone"].why
    assert all(end.do for end in ends.values())
    # A hold counts only after it has lasted
    assert {end.id for end in dead_ends(three, 600.0)} == {"silent", "gone"}
    assert counted(three, three.lanes.get_all())[Kind.LANE] == 2


def test_a_batch_at_its_cap_is_stuck(bench: Bench, make: MakeJob, priced: Priced) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x", BatchOptions(max_cost=Decimal("0.01")))
    bench.claimed("fox")
    bench.store.attempts.finish("fox", State.COMPLETED, priced("0.01"), "callback")
    assert bench.store.attempts.admit(10).ids == ()
    (end,) = found(bench)
    assert (end.kind, end.id) == (Kind.CAP, "batch x")
    assert "max_cost of 0.01 USD" in end.why
    assert counted(bench.store, bench.store.lanes.get_all())[Kind.CAP] == 1
    bench.store.batches.resume("x", max_cost=Decimal(1))
    assert found(bench) == []


def test_a_cancelled_batch_at_its_cap_is_not_stuck(bench: Bench, make: MakeJob, priced: Priced) -> None:
    bench.store.jobs.enqueue([make("fox"), make("hen")], "x", BatchOptions(max_cost=Decimal("0.01")))
    bench.claimed("fox")
    bench.store.attempts.finish("fox", State.COMPLETED, priced("0.01"), "callback")
    bench.store.attempts.admit(10)
    bench.store.batches.cancel("x")
    assert found(bench) == []


def test_a_key_whose_budget_is_used_up_is_stuck(bench: Bench, make: MakeJob, priced: Priced) -> None:
    store = bench.with_settings(key_limits={"shop": KeyLimits(max_cost_per_day=Decimal("0.01"))})
    store.jobs.enqueue([make("fox", owner="shop"), make("hen", owner="shop")])
    store.attempts.admit(1)
    store.attempts.claim(["fox"])
    store.attempts.finish("fox", State.COMPLETED, priced("0.01"), "callback")
    assert store.attempts.admit(10).ids == ()
    (end,) = dead_ends(store)
    assert (end.kind, end.id) == (Kind.CAP, "key shop")


def test_an_image_that_the_store_lost_is_stuck(bench: Bench, make: MakeJob) -> None:
    fox = bench.placeholder_image(b"a fox")
    images = bench.images()
    images.put(fox)
    text = f'{{"params":{{"image":"image:sha256:{fox.hash}"}}}}'
    bench.store.jobs.enqueue([make("one", text), make("two", text)])
    assert found(bench) == []
    bench.stored.clear()
    with pytest.raises(ImageNotFound):
        images.read(images.find([fox.hash])[0])  # type: ignore[arg-type]
    (end,) = found(bench)
    assert (end.kind, end.id) == (Kind.IMAGE, fox.hash)
    assert "2 times" in end.why
