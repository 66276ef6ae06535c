"""Fairness between producers' keys: it comes before classes, and data of the version before take part."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.audit.audit import audit
from jobs.audit.repair import repair
from jobs.errors import BatchNotFound, NotAllowed
from jobs.job import Priority
from jobs.key_limits import KeyLimits
from jobs.new_job import BatchOptions, NewJob
from jobs.store.store import Store
from tests.support.bench import Bench
from tests.support.examples import examples

Make = Callable[..., NewJob]


def shares(ids: tuple[str, ...]) -> Counter[str]:
    """Count the admitted jobs of each batch, by the letter that its ids begin with."""
    return Counter(job_id[0] for job_id in ids)


# --- keys before classes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theirs", Priority)
@pytest.mark.parametrize("mine", Priority)
def test_a_class_orders_its_own_keys_jobs_only(
    bench: Bench, fill: Callable[..., None], mine: Priority, theirs: Priority
) -> None:
    for batch in "abc":
        fill(batch, 300, owner="shop", priority=theirs)
    bench.store.attempts.admit(100)
    fill("x", 10, owner="press", priority=mine)
    assert shares(bench.store.attempts.admit(20).ids)["x"] == 10
    assert bench.audit() == []


def test_a_key_with_one_job_waits_for_one_round(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    for number, batch in enumerate("abcdefgh"):
        fill(batch, 500, owner=f"key {number}", priority=Priority.HIGH)
    bench.store.attempts.admit(200)
    bench.store.jobs.enqueue([make("one", owner="press", priority=Priority.LOW)])
    bench.store.jobs.enqueue([make("celery", priority=Priority.LOW)])  # it has no key
    assert {"one", "celery"} <= set(bench.store.attempts.admit(11).ids)


@pytest.mark.parametrize(("shop", "press"), [(Priority.HIGH, Priority.NORMAL), (Priority.NORMAL, Priority.LOW)])
def test_an_operator_can_put_a_key_before_others(
    bench: Bench, fill: Callable[..., None], shop: Priority, press: Priority
) -> None:
    store = bench.with_settings(key_limits={"shop": KeyLimits(priority=shop), "press": KeyLimits(priority=press)})
    fill("p", 5, owner="press", priority=Priority.HIGH, store=store)
    fill("s", 5, owner="shop", priority=Priority.LOW, store=store)
    assert [job_id[0] for job_id in store.attempts.admit(8).ids] == [*"sssssppp"]
    assert audit(store) == []


def test_keys_of_one_rank_share_after_it_was_alone(bench: Bench, fill: Callable[..., None]) -> None:
    high = KeyLimits(priority=Priority.HIGH)
    store = bench.with_settings(key_limits={"a": high, "b": high})
    fill("n", 100, owner="n", store=store)
    fill("a", 200, owner="a", store=store)
    store.attempts.admit(100)
    fill("b", 100, owner="b", store=store)
    assert shares(store.attempts.admit(40).ids) == {"a": 20, "b": 20}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("before", "after"), [(before, after) for before in Priority for after in Priority if before != after]
)
def test_a_key_that_gets_another_rank_shares_with_its_new_rank_at_once(
    bench: Bench, fill: Callable[..., None], before: Priority, after: Priority, waits: bool
) -> None:
    """It neither pays for what it got in its rank before, nor is it paid for that."""
    limits = {"b": KeyLimits(priority=after), "c": KeyLimits(priority=Priority.LOW)}
    store = bench.with_settings(key_limits={**limits, "a": KeyLimits(priority=before)})
    fill("c", 1, owner="c", store=store)  # the pool is never empty
    fill("b", 40, owner="b", store=store, n=2)
    store.attempts.admit(20)
    store.batches.pause("b")
    fill("a", 400 if waits else 200, owner="a", store=store, n=4)
    assert shares(store.attempts.admit(200).ids)["a"] >= 199
    store.batches.resume("b")
    store = bench.with_settings(key_limits={**limits, "a": KeyLimits(priority=after)})
    if not waits:
        fill("a", 100, owner="a", store=store, n=4)
    fill("b", 200, owner="b", store=store, n=2)
    got = shares(store.attempts.admit(60).ids)
    assert abs(got["a"] - 20) <= 2
    assert abs(got["b"] - 40) <= 2
    assert audit(store) == []


def test_a_key_whose_jobs_wait_for_money_delays_no_other(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    """Admission checks only so many queues of a key at once, and then goes on to the other keys."""
    store = bench.with_settings(key_limits={"shop": KeyLimits(max_cost_per_day=Decimal("0.001"))})
    bench.raw.hset(bench.keys.singleton("prices"), "kirin_image_omni|1|", "5000000 5000000 5000000")
    for number in range(300):
        store.jobs.enqueue([make(f"s{number}")], f"b{number}", BatchOptions(owner="shop"))
    store.jobs.enqueue([make("one", owner="press")])
    assert store.attempts.admit(5).ids == ("one",)
    store.attempts.admit(5)
    assert bench.raw.zcard(bench.keys.singleton("capped")) == 300
    assert audit(store) == []


@dataclass(frozen=True)
class Waits:
    """What the model knows of a job that waits."""

    owner: str
    batch: str
    class_: int


class Model:
    """The jobs that wait, as a producer sees them, and the service that each key has got.

    `served` has each pair of keys that have waited all the time since, with their images.
    """

    def __init__(self, store: Store, weights: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        self.store = store
        self.weights, self.sizes = weights, sizes
        self.waiting: dict[str, Waits] = {}
        self.paused: set[str] = set()
        self.served: dict[tuple[str, str], Counter[str]] = {}
        self.number = 0

    def ready(self) -> dict[str, Waits]:
        """Return the jobs that may be admitted, in the order of acceptance."""
        return {job_id: each for job_id, each in self.waiting.items() if each.batch not in self.paused}

    def enqueue(self, key: str, batch: str, priority: Priority, count: int) -> None:
        """Enqueue `count` jobs."""
        self.number += 1
        ids = [f"{self.number}.{k}" for k in range(count)]
        jobs = [NewJob(id=each, text="{}", model="m", n=self.sizes[key], priority=priority) for each in ids]
        self.store.jobs.enqueue(jobs, batch, BatchOptions(owner=key, weight=1 + len(batch) % 3))
        self.waiting |= dict.fromkeys(ids, Waits(key, batch, [*Priority].index(priority)))

    def admit(self, count: int) -> None:
        """Admit jobs, and judge the choice of each."""
        may = len(self.ready())
        ids = self.store.attempts.admit(count).ids
        assert len(ids) == min(count, may), "slots are idle although jobs wait"
        for job_id in ids:
            ready = self.ready()
            own = {other: each for other, each in ready.items() if each.owner == ready[job_id].owner}
            mine = own[job_id]
            assert mine.class_ == min(each.class_ for each in own.values())
            assert job_id == next(other for other, each in own.items() if each == mine)
            del self.waiting[job_id]
            self.count(mine.owner)

    def count(self, owner: str) -> None:
        """Count the service, and compare it with fair queueing's bound."""
        for pair, served in self.served.items():
            if owner in pair:
                served[owner] += self.sizes[owner]
                apart = served[pair[0]] / self.weights[pair[0]] - served[pair[1]] / self.weights[pair[1]]
                assert abs(apart) <= sum(self.sizes[key] / self.weights[key] for key in pair) + 1e-9
        self.look()

    def stop(self, event: str, batch: str) -> None:
        """Pause, resume or cancel a batch."""
        verbs = {"pause": self.store.batches.pause, "resume": self.store.batches.resume}
        with suppress(BatchNotFound, NotAllowed):
            verbs.get(event, self.store.batches.cancel)(batch)
            self.paused = self.paused | {batch} if event == "pause" else self.paused - {batch}
            if event == "cancel":
                self.waiting = {job_id: each for job_id, each in self.waiting.items() if each.batch != batch}

    def look(self) -> None:
        """Compare from now on the keys that begin to wait, and no longer those that do not."""
        there = sorted({each.owner for each in self.ready().values()})
        self.served = {pair: self.served.get(pair, Counter()) for pair in combinations(there, 2)}


KEYS = ("", "shop", "press")
EVENTS = st.tuples(
    st.sampled_from(["enqueue", "enqueue", "admit", "admit", "pause", "resume", "cancel"]),
    st.sampled_from(KEYS),
    st.sampled_from(["1", "22"]),
    st.sampled_from(list(Priority)),
    st.integers(1, 9),
)


@pytest.mark.slow
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60)
)
@given(
    events=st.lists(EVENTS, min_size=5, max_size=40),
    weights=st.tuples(*(st.integers(1, 4),) * 3),
    sizes=st.tuples(*(st.integers(1, 3),) * 3),
)
def test_keys_share_within_the_bound_whatever_their_classes_and_batches(
    bench: Bench, events: list[Any], weights: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    """While two keys wait all the time, their service differs by no more than fair queueing's bound.

    Nothing is idle while a job may go, a key's higher class goes first, and each queue keeps its order.
    """
    bench.start_afresh()
    limits = {key: KeyLimits(weight=weight) for key, weight in zip(KEYS, weights, strict=True)}
    model = Model(
        bench.with_settings(key_limits=limits),
        dict(zip(KEYS, weights, strict=True)),
        dict(zip(KEYS, sizes, strict=True)),
    )
    for event, key, which, priority, count in events:
        batch = f"{key or 'none'}.{which}"
        if event == "enqueue":
            model.enqueue(key, batch, priority, count)
        elif event == "admit":
            model.admit(count)
        else:
            model.stop(event, batch)
        model.look()
    assert audit(model.store) == []


# --- data of the version before ---------------------------------------------------------------------------------------


def _as_before(bench: Bench) -> None:
    """Store the queues that take part as the version before did: one set for each pool and class."""
    keys, raw = bench.keys, bench.raw
    for name in raw.keys(keys.member("queues", "*")):
        set_ = name.removeprefix(keys.member("queues", ""))
        members = raw.zrange(name, 0, -1)
        raw.delete(name, keys.member("tags", set_))
        if "|" in set_:
            raw.zadd(keys.member("queues", "|".join(set_.split("|")[:2])), dict.fromkeys(members, 7.5))
    for name in raw.keys(keys.member("pool", "*")):
        raw.hdel(name, *(field for field in raw.hkeys(name) if field.startswith("v")), "none")
        raw.hset(name, "v1", "7.5")


@pytest.mark.parametrize("by", ["admission", "enqueue", "repair"])
def test_queues_of_the_version_before_are_admitted(bench: Bench, fill: Callable[..., None], by: str) -> None:
    store = bench.store
    fill("x", 30, owner="shop", priority=Priority.HIGH)
    fill("y", 30, owner="press", priority=Priority.LOW)
    fill("z", 30, owner="press")
    store.batches.pause("z")
    _as_before(bench)
    assert bench.audit() == []
    if by == "enqueue":
        fill("x", 5)  # its queue takes part twice until the next admission
    elif by == "repair":
        bench.raw.hincrby(bench.keys.member("pool", ""), "ready", 1)
        repair(store)
        assert bench.audit() == []
    assert shares(store.attempts.admit(20).ids) == {"x": 10, "y": 10}
    assert bench.audit() == []
    store.batches.resume("z")
    assert shares(store.attempts.admit(20).ids) == {"x": 10, "z": 10}


def test_old_and_new_workers_side_by_side_lose_nothing(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    """An old process knows neither the new sets nor what leaves them."""
    store, raw, keys = bench.store, bench.raw, bench.keys
    fill("x", 3, owner="shop")
    fill("y", 3, owner="shop")
    fill("e", 1, owner="press")
    # An old webhook adds a job to a queue that takes part already, so it takes part twice
    raw.zadd(keys.member("queues", "|1"), {"|1|bx": 3})
    raw.hincrby(keys.member("pool", ""), "1|shop", 1)
    # Another pauses a batch, and cancels the only job of one
    raw.hset(keys.member("batch", "y"), "paused", "1")
    raw.hincrby(keys.member("pool", ""), "ready", -3)
    store.jobs.cancel("e0")
    raw.zadd(keys.member("queues", "|1|press"), {"|1|be": 0})
    raw.zadd(keys.member("queues", ""), {"press": 0})
    raw.hincrby(keys.member("pool", ""), "1|press", 1)
    assert store.attempts.admit(10).ids == ("x0", "x1", "x2")
    assert bench.audit() == []
    store.batches.resume("y")
    assert store.attempts.admit(10).ids == ("y0", "y1", "y2")
    assert raw.keys(keys.member("queues", "*")) == []


def test_damaged_data_of_a_batch_do_not_stop_other_keys(bench: Bench, fill: Callable[..., None], make: Make) -> None:
    fill("x", 3, owner="shop")
    fill("y", 3, owner="press")
    bench.raw.set(bench.keys.member("batch", "x"), "no hash")
    assert bench.store.attempts.admit(10).ids == ("y0", "y1", "y2")
