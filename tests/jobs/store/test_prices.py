"""Prices are learned from costs: an odd one changes nothing, a real rise is followed, and caps keep to them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.prices import MOST_PRICE, PRICE_CEILING, PRICES_KEPT, PRICES_SURE
from jobs.store.store import Store
from jobs.units import dollars, nano
from tests.support.bench import Bench
from tests.support.examples import examples

Make = Callable[..., NewJob]
MODEL = "kirin_image_omni"
FAILED = {"code": "1301", "message": "no"}
#: A usual cost, and one that is surely wrong.
USUAL, ODD = Decimal("0.0065"), Decimal(1_000_000)
PICTURES = Result(output=({"type": "image", "url": "https://cdn.example.com/1.png"},))


class Teacher:
    """Runs jobs that cost something, one at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.count = 0

    def run(
        self, *costs: Decimal | str | None, state: State = State.COMPLETED, owner: str = "", **changes: Any
    ) -> None:
        store = self.bench.store
        for cost in costs:
            self.count += 1
            job = NewJob(id=f"taught{self.count}", text="{}", model=MODEL, owner=owner, **{"n": 1, **changes})
            store.jobs.enqueue([job])
            store.attempts.claim([job.id for _ in store.attempts.admit(100).ids])
            error = FAILED if state is State.FAILED else None
            result = Result(
                output=() if error else PICTURES.output, error=error, cost=None if cost is None else Decimal(cost)
            )
            assert store.attempts.finish(job.id, state, result, "poll").outcome == "finished"

    def price(self, owner: str = "", price_class: str = f"{MODEL}|1|") -> Decimal | None:
        """Return what a batch of one such job is expected to cost."""
        key = self.bench.keys.member("batch", "probe")
        fields = {"created": self.bench.now, "accepted": 1, f"c:{price_class}": 1, **({"key": owner} if owner else {})}
        self.bench.raw.hset(key, mapping=fields)
        try:
            return self.bench.store.batches.get("probe").expected_cost
        finally:
            self.bench.raw.delete(key)


@pytest.fixture
def teacher(bench: Bench) -> Teacher:
    return Teacher(bench)


def capped(bench: Bench, make: Make, max_cost: str, *, many: int = 10, owner: str = "", batch: str = "x") -> Store:
    jobs = [make(f"{batch}{number}") for number in range(many)]
    bench.store.jobs.enqueue(jobs, batch, BatchOptions(owner=owner, max_cost=Decimal(max_cost)))
    return bench.store


def work(bench: Bench, cost: Decimal | Callable[[int], Decimal], rounds: int = 30, at_once: int = 100) -> list[str]:
    """Admit and complete what may go, round after round. Returns the ids in the order of completion."""
    done: list[str] = []
    for _ in range(rounds):
        ids = bench.store.attempts.admit(at_once).ids
        bench.store.attempts.claim(ids)
        for job_id in ids:
            price = cost if isinstance(cost, Decimal) else cost(len(done))
            bench.store.attempts.finish(job_id, State.COMPLETED, Result(output=PICTURES.output, cost=price), "poll")
            done.append(job_id)
        bench.forward(2)
    return done


# --- what is learned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "price"),
    [
        pytest.param(["0.10"], "0.10", id="one"),
        pytest.param(["0.10", "0.30"], "0.30", id="of two, the higher"),
        pytest.param(["0.10", "0.50"], None, id="two that contradict each other"),
        pytest.param(["0.10", "0.12", "0.11"], "0.12", id="the highest that is usual"),
        pytest.param(["0.10", "0.10", "0.10", "9"], "0.10", id="one odd cost"),
        pytest.param(["9", "0.10", "0.10"], "0.10", id="the first is odd"),
        pytest.param(["0.10"] * 9 + ["1", "0.10", "1", "0.10"], "0.10", id="two odd costs"),
        pytest.param(["0.10"] * 9 + ["1", "1"], "0.10", id="a rise not yet confirmed"),
        pytest.param(["0.10"] * 9 + ["1", "1.1", "1.2"], "1", id="a rise"),
        pytest.param(["0.10"] * 9 + ["0.30"], "0.30", id="a small rise at once"),
        pytest.param(["1"] * 9 + ["0.10"] * 4, "1", id="a fall not yet sure"),
        pytest.param(["1"] * 9 + ["0.10"] * 5, "0.10", id="a fall"),
        pytest.param(["0.10", "0.10", "0.10", "0", "0", "0"], "0.10", id="some are free"),
        pytest.param(["0", "0", "0"], "0", id="all are free"),
        pytest.param(["0", "0"], None, id="two free ones prove nothing"),
        pytest.param([None, None, None, None], None, id="no amount"),
        pytest.param(["1000000", "10.01"], None, id="implausible"),
        pytest.param(["0.10"] * 3 + ["1000000"] * 9, "0.10", id="implausible again and again"),
    ],
)
def test_the_price_is_what_the_last_costs_tell(teacher: Teacher, costs: list[str | None], price: str | None) -> None:
    teacher.run(*costs)
    assert teacher.price() == (None if price is None else Decimal(price))


def test_a_price_belongs_to_model_images_and_resolution(teacher: Teacher) -> None:
    teacher.run("0.10")
    teacher.run("0.40", n=4)
    teacher.run("0.20", resolution="2K")
    assert [teacher.price(price_class=f"{MODEL}|{rest}") for rest in ("1|", "4|", "1|2K")] == [
        Decimal("0.10"),
        Decimal("0.40"),
        Decimal("0.20"),
    ]


def test_a_failure_teaches_only_a_higher_price(teacher: Teacher) -> None:
    teacher.run("0.10")
    teacher.run("0", "0", "0", "0.05", "0.05", state=State.FAILED)
    assert teacher.price() == Decimal("0.10")
    teacher.run("0.2", state=State.FAILED)
    assert teacher.price() == Decimal("0.2")


def test_a_producers_own_costs_count_before_those_of_others(teacher: Teacher) -> None:
    teacher.run(*["0.10"] * PRICES_SURE, owner="shop")
    assert teacher.price("press") == Decimal("0.10")
    teacher.run(*["2"] * PRICES_KEPT, owner="press|1")
    assert (teacher.price("shop"), teacher.price("press|1")) == (Decimal("0.10"), Decimal(2))


def test_the_price_that_the_version_before_stored_is_read(bench: Bench, teacher: Teacher) -> None:
    key, price_class = bench.keys.singleton("prices"), f"{MODEL}|1|"
    bench.raw.hset(key, price_class, nano(USUAL))
    assert teacher.price() == USUAL
    assert bench.audit() == []
    bench.raw.hset(key, price_class, nano(ODD))
    assert teacher.price() is None
    teacher.run(USUAL)
    assert teacher.price() == USUAL
    assert bench.audit() == []


COSTS = st.sampled_from([0, 1, 6_500_000, 6_500_001, 13_000_000, 65_000_000, nano(MOST_PRICE), nano(ODD)])


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(50)
)
@given(costs=st.lists(COSTS | st.integers(0, nano(ODD)), max_size=PRICES_KEPT + 3))
def test_a_price_is_one_of_the_last_costs_and_not_one_that_stands_out(bench: Bench, costs: list[int]) -> None:
    bench.start_afresh()
    teacher = Teacher(bench)
    teacher.run(*map(dollars, costs))
    kept = [cost for cost in costs if cost <= nano(MOST_PRICE)][-PRICES_KEPT:]
    paid = [cost for cost in kept if cost]
    price = teacher.price()
    if len(paid) == PRICES_SURE - 1 and max(paid) > PRICE_CEILING * min(paid):
        assert price is None
        return
    if not paid:
        assert price == (0 if len(kept) >= PRICES_SURE else None)
        return
    assert price is not None
    assert nano(price) in paid
    middle = sorted(paid)[(len(paid) - 1) // 2]
    if len(paid) >= PRICES_SURE:
        assert nano(price) >= min(middle, *paid[-PRICES_SURE:])
        assert nano(price) <= PRICE_CEILING * middle or nano(price) == min(paid[-PRICES_SURE:])


# --- caps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["1000000", "6.5"])
@pytest.mark.parametrize("before", [0, 1, 2, 20])
def test_one_wrong_cost_stops_nobody_elses_batch(
    bench: Bench, make: Make, teacher: Teacher, before: int, odd: str
) -> None:
    teacher.run(*[USUAL] * before, odd, owner="press")
    store = capped(bench, make, "0.065", owner="shop")
    assert work(bench, USUAL) == [f"x{number}" for number in range(10)]
    assert store.batches.get("x").cost == USUAL * 10
    assert bench.audit() == []


@pytest.mark.parametrize("odd_at", range(5))
def test_a_wrong_cost_counts_in_its_own_batch_only(bench: Bench, make: Make, odd_at: int) -> None:
    capped(bench, make, "1")
    done = work(bench, lambda number: ODD if number == odd_at else USUAL, at_once=1)
    assert len(done) == odd_at + 1
    batch = bench.store.batches.get("x")
    assert (batch.paused, batch.cost) == (True, ODD + odd_at * USUAL)
    capped(bench, make, "1", batch="y")
    assert len(work(bench, USUAL)) == 10


@pytest.mark.parametrize("taught", [0, 1, 3, 9])
def test_a_cap_holds_although_the_price_rises_tenfold(bench: Bench, make: Make, teacher: Teacher, taught: int) -> None:
    """Only jobs that were under way, or begun before the rise is confirmed, may cost more than was reserved."""
    teacher.run(*[USUAL] * taught)
    store = bench.with_settings(max_in_flight=4)
    bench.store = store
    capped(bench, make, "0.65", many=100)
    work(bench, USUAL * 10)
    spent = store.batches.get("x").cost
    assert spent <= Decimal("0.65") + (4 + PRICES_SURE) * 9 * USUAL
    assert store.batches.get("x").paused
    assert bench.audit() == []


def test_a_price_that_is_not_sure_is_kept_to(bench: Bench, make: Make, teacher: Teacher) -> None:
    teacher.run("0.40")
    store = capped(bench, make, "0.5")
    assert len(work(bench, Decimal("0.40"))) == 1
    assert store.batches.get("x").paused
    assert len(work(bench, Decimal("0.40"))) == 0
    capped(bench, make, "0.2", batch="y")
    assert len(work(bench, Decimal("0.40"))) == 0


def test_one_job_finds_out_whether_a_price_far_above_the_cap_is_true(
    bench: Bench, make: Make, teacher: Teacher
) -> None:
    teacher.run("6.5")
    store = capped(bench, make, "0.05")
    assert store.attempts.admit(10).ids == ("x0",)
    assert store.attempts.admit(10).ids == ()
    bench.forward(2)
    assert store.attempts.admit(10).ids == ()
    assert store.batches.get("x").paused is False
    assert bench.audit() == []


def test_a_sure_price_that_exceeds_what_is_left_pauses_and_says_so(bench: Bench, make: Make, teacher: Teacher) -> None:
    teacher.run(*["0.40"] * PRICES_SURE)
    store = capped(bench, make, "0.5")
    assert len(work(bench, Decimal("0.40"))) == 1
    reason = store.batches.get("x").reason
    assert reason == store.jobs.with_reason(store.jobs.get("x1")).reason
    assert reason == (
        "the expected cost of the next job (0.4 USD) exceeds the 0.1 USD left of max_cost of 0.5 USD: "
        "paused until it is resumed with a higher one"
    )
    teacher.run(*["0.05"] * PRICES_KEPT)
    assert "would fit now" in (store.batches.get("x").reason or "")
    store.batches.resume("x")
    assert len(work(bench, Decimal("0.05"))) == 2


def test_a_daily_budget_survives_a_wrong_first_cost(bench: Bench, make: Make, teacher: Teacher) -> None:
    teacher.run("9", owner="press")
    limits = {"shop": KeyLimits(max_cost_per_day=Decimal("0.05"))}
    bench.store = bench.with_settings(
        key_limits=limits, named_lanes=pooled([LaneSettings(max_cost_per_day=Decimal(100))])
    )
    bench.store.jobs.enqueue([make(f"s{number}", owner="shop") for number in range(10)])
    assert len(work(bench, USUAL)) == 7
    assert bench.audit() == []


def test_learning_takes_one_read_and_at_most_one_write_a_result(bench: Bench, teacher: Teacher) -> None:
    def commands(cost: Decimal) -> dict[str, int]:
        bench.raw.config_resetstat()
        teacher.run(cost, owner="shop")
        stats = bench.raw.info("commandstats")
        return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("hget", "hmget", "hset")}

    teacher.run(*[USUAL] * PRICES_KEPT, owner="shop")
    usual, other = commands(USUAL), commands(USUAL * 2)
    assert other == {**usual, "hset": usual["hset"] + 1}
