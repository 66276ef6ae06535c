"""Prices are reserved at admission and settled at the end. Caps hold. The ledger records what was spent."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.audit.audit import audit
from jobs.job import Priority
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.prices import PRICES_SURE
from jobs.store.spending import DAY, DAYS_KEPT, By, Only
from jobs.store.store import Store
from jobs.units import nano
from tests.support.bench import Bench
from tests.support.examples import examples

Make = Callable[..., NewJob]
Priced = Callable[[str], Result]
MODEL = "kirin_image_omni"
#: The clock of these tests begins two hours before the end of this day.
TODAY, TOMORROW = date(2023, 11, 14), date(2023, 11, 15)
FAILED = Result(error={"code": "1301", "message": "no"})
BUSY = Result(error={"code": "1302", "message": "too fast"})


def usd(text: str) -> Decimal:
    return Decimal(text)


@pytest.fixture
def run(bench: Bench, make: Make, priced: Priced) -> Callable[..., None]:
    """`run("id", "0.10", n=2)`: enqueue, admit and complete a job with this cost, which then is the sure price."""

    def run(job_id: str, cost: str, batch: str | None = None, **changes: Any) -> None:
        bench.store.jobs.enqueue([make(job_id, **changes)], batch)
        end(bench.store, job_id, priced(cost))
        set_price(bench, f"{MODEL}|{changes.get('n', 1)}|", usd(cost))

    return run


def end(store: Store, job_id: str, result: Result, state: State = State.COMPLETED) -> None:
    """Admit and claim all jobs that may go, and end one of them."""
    store.attempts.claim(store.attempts.admit(100).ids)
    assert store.attempts.finish(job_id, state, result, "poll").outcome in ("finished", "again")


def set_price(bench: Bench, price_class: str, cost: Decimal) -> None:
    """Store enough equal costs of a price class to be sure of its price."""
    bench.raw.hset(bench.keys.singleton("prices"), price_class, " ".join([str(nano(cost))] * PRICES_SURE))


def reserved(bench: Bench) -> dict[str, Decimal]:
    """Return the reserved amounts in USD, by payer."""
    return {
        payer: Decimal(amount) / 10**9 for payer, amount in bench.raw.hgetall(bench.keys.singleton("reserved")).items()
    }


def why(store: Store, job_id: str) -> str | None:
    return store.jobs.with_reason(store.jobs.get(job_id)).reason


# --- reservations -----------------------------------------------------------------------------------------------------


def test_money_is_reserved_from_admission_to_the_end(
    bench: Bench, make: Make, run: Callable[..., None], priced: Priced
) -> None:
    run("first", "0.10", "x")
    bench.store.jobs.enqueue([make("b"), make("c")], "y", BatchOptions(owner="shop"))
    assert reserved(bench) == {}
    bench.store.attempts.admit(10)
    assert reserved(bench) == {"ldefault": usd("0.2"), "by": usd("0.2"), "kshop": usd("0.2")}
    bench.store.attempts.claim(["b", "c"])
    bench.store.attempts.finish("b", State.COMPLETED, priced("0.07"), "callback")
    assert reserved(bench) == {"ldefault": usd("0.1"), "by": usd("0.1"), "kshop": usd("0.1")}
    assert bench.store.batches.get("y").cost == usd("0.07")
    assert "R" not in bench.fields("b")
    bench.store.attempts.finish("c", State.FAILED, FAILED, "poll")
    assert reserved(bench) == {}
    assert bench.audit() == []


@pytest.mark.parametrize("way", ["message lost", "cancelled", "not created", "absent", "tried again", "paused"])
def test_an_attempt_without_a_cost_releases_its_reservation(
    bench: Bench, make: Make, run: Callable[..., None], way: str
) -> None:
    run("first", "0.10")
    store = bench.store
    store.jobs.enqueue([make("fox")], "x")
    if way in ("message lost", "cancelled", "paused"):
        assert store.attempts.admit(10).ids == ("fox",)
    else:
        claim = bench.claimed("fox")
    assert reserved(bench)["bx"] == usd("0.1")
    match way:
        case "message lost":
            bench.forward(31)
            store.attempts.claim_due(10)
        case "cancelled":
            store.jobs.cancel("fox")
        case "paused":
            store.batches.pause("x")
            store.attempts.claim(["fox"])
        case "not created":
            store.attempts.requeue("fox", claim.fence, "429")
        case "absent":
            store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
            store.jobs.cancel("fox")
            assert reserved(bench)["bx"] == usd("0.1")
            store.attempts.requeue("fox", bench.due().job.fence, "absent")
        case "tried again":
            store.attempts.finish("fox", State.FAILED, BUSY, "poll")
    assert reserved(bench) == {}
    assert bench.audit() == []


def test_a_cancelled_job_keeps_its_reservation_while_it_is_at_the_provider(
    bench: Bench, run: Callable[..., None], priced: Priced
) -> None:
    run("first", "0.10")
    bench.put(State.IN_PROGRESS, "fox")
    bench.store.jobs.cancel("fox")
    assert reserved(bench) == {"ldefault": usd("0.1")}
    bench.store.attempts.finish("fox", State.COMPLETED, priced("0.10"), "callback")
    assert reserved(bench) == {}
    assert bench.store.statistics.totals().cost == usd("0.2")


def test_a_callback_for_a_job_that_was_queued_again_reserves_again(bench: Bench, run: Callable[..., None]) -> None:
    run("first", "0.10")
    claim = bench.claimed("fox")
    bench.store.attempts.requeue("fox", claim.fence, "connection refused", wait=60)
    assert reserved(bench) == {}
    bench.store.attempts.record_callback("fox", needs_lookup=True)
    assert reserved(bench) == {"ldefault": usd("0.1")}
    assert bench.audit() == []


# --- a batch's cap ----------------------------------------------------------------------------------------------------


@pytest.fixture
def capped(bench: Bench, make: Make, run: Callable[..., None]) -> Store:
    """A store with a batch of ten jobs at 0.10 USD each and a cap of 0.35 USD."""
    run("first", "0.10")
    bench.store.jobs.enqueue([make(f"x{number}") for number in range(10)], "x", BatchOptions(max_cost=usd("0.35")))
    return bench.store


def test_a_batch_at_its_cap_waits_and_then_pauses(bench: Bench, capped: Store, priced: Priced) -> None:
    ids = capped.attempts.admit(10).ids
    assert ids == ("x0", "x1", "x2")
    # The jobs under way may turn out cheaper, so the batch only waits.
    assert capped.batches.get("x").paused is False
    reason = capped.batches.get("x").reason
    assert reason == why(capped, "x3") == "max_cost of 0.35 USD is used up or reserved for jobs under way"
    assert capped.attempts.admit(10).ids == ()
    capped.attempts.claim(ids)
    for job_id in ids:
        capped.attempts.finish(job_id, State.COMPLETED, priced("0.10"), "callback")
    bench.forward(2)
    assert capped.attempts.admit(10).ids == ()
    view = capped.batches.get("x")
    assert (view.paused, view.cost, view.max_cost, view.counts[State.QUEUED]) == (True, usd("0.3"), usd("0.35"), 7)
    assert view.reason == (
        "the expected cost of the next job (0.1 USD) exceeds the 0.05 USD left of max_cost of 0.35 USD: "
        "paused until it is resumed with a higher one"
    )
    assert why(capped, "x3") == view.reason
    assert bench.audit() == []


def test_a_cheaper_result_frees_money_for_another_job(bench: Bench, capped: Store, priced: Priced) -> None:
    ids = capped.attempts.admit(10).ids
    capped.attempts.claim(ids)
    capped.attempts.finish("x0", State.FAILED, FAILED, "poll")
    assert capped.attempts.admit(10).ids == ()  # the batch is checked again a moment later
    bench.forward(2)
    assert capped.attempts.admit(10).ids == ("x3",)
    assert bench.audit() == []


def test_a_batch_at_its_cap_continues_only_with_a_higher_cap(bench: Bench, capped: Store, priced: Priced) -> None:
    ids = capped.attempts.admit(10).ids
    capped.attempts.claim(ids)
    for job_id in ids:
        capped.attempts.finish(job_id, State.COMPLETED, priced("0.10"), "callback")
    bench.forward(2)
    capped.attempts.admit(10)
    assert capped.batches.resume("x").affected == 7
    assert capped.attempts.admit(10).ids == ()
    assert capped.batches.get("x").paused is True
    assert capped.batches.resume("x", max_cost=usd("0.60")).affected == 7
    assert capped.attempts.admit(10).ids == ("x3", "x4", "x5")
    # Raise the cap again while the batch waits for reserved money
    assert capped.attempts.admit(10).ids == ()
    assert capped.batches.resume("x", max_cost=usd("0.70")).affected == 0
    assert capped.attempts.admit(10).ids == ("x6",)
    assert bench.audit() == []


def test_the_cap_of_one_batch_stops_no_other_queue(bench: Bench, capped: Store, make: Make) -> None:
    capped.jobs.enqueue([make(f"y{number}") for number in range(10)], "y")
    capped.jobs.enqueue([make("low", priority=Priority.LOW)])
    assert Counter(job_id[0] for job_id in capped.attempts.admit(100).ids) == {"x": 3, "y": 10, "l": 1}
    assert bench.audit() == []


def test_a_batch_at_its_cap_can_be_paused_extended_and_cancelled(bench: Bench, capped: Store, make: Make) -> None:
    capped.attempts.admit(10)
    capped.jobs.enqueue([make("more")], "x")
    assert capped.attempts.admit(10).ids == ()
    capped.batches.pause("x")
    assert capped.batches.get("x").reason == "paused on request"
    capped.batches.resume("x")
    assert capped.attempts.admit(10).ids == ()
    assert bench.audit() == []
    capped.batches.cancel("x")
    assert capped.batches.get("x").done
    assert bench.audit() == []


def test_jobs_of_unknown_price_are_admitted_one_at_a_time(bench: Bench, make: Make, priced: Priced) -> None:
    store = bench.store
    store.jobs.enqueue([make(f"x{number}") for number in range(5)], "x", BatchOptions(max_cost=usd("0.35")))
    assert store.batches.get("x").expected_cost is None
    assert store.attempts.admit(10).ids == ("x0",)
    assert store.attempts.admit(10).ids == ()
    assert why(store, "x1") == "max_cost of 0.35 USD: such jobs are sent one at a time until their cost is known"
    assert bench.audit() == []
    store.attempts.claim(["x0"])
    store.attempts.finish("x0", State.FAILED, FAILED, "poll")  # no price is learned
    bench.forward(2)
    assert store.attempts.admit(10).ids == ("x1",)
    store.attempts.claim(["x1"])
    store.attempts.finish("x1", State.COMPLETED, priced("0.10"), "callback")
    bench.forward(2)
    assert store.attempts.admit(10).ids == ("x2", "x3")
    assert bench.audit() == []


def test_the_expected_cost_of_a_batch_is_spent_plus_open(
    bench: Bench, make: Make, run: Callable[..., None], priced: Priced
) -> None:
    run("first", "0.10")
    run("second", "0.40", n=4)
    store = bench.store
    store.jobs.enqueue([make("a"), make("b"), make("c", n=4), make("d")], "x")
    assert store.batches.get("x").expected_cost == usd("0.7")
    end(store, "a", priced("0.05"))
    assert store.batches.get("x").cost == usd("0.05")
    # 0.05 spent, two jobs at 0.10, and one at 0.40
    assert store.batches.get("x").expected_cost == usd("0.65")
    store.attempts.finish("b", State.FAILED, FAILED, "poll")
    store.jobs.cancel("c")
    assert store.batches.get("x").expected_cost == usd("0.15")
    store.jobs.retry("b")
    assert store.batches.get("x").expected_cost == usd("0.25")
    assert bench.audit() == []


# --- budgets of keys and lanes ----------------------------------------------------------------------------------------


def test_a_key_spends_at_most_its_daily_budget(
    bench: Bench, make: Make, run: Callable[..., None], priced: Priced
) -> None:
    run("first", "0.10")
    store = bench.with_settings(key_limits={"shop": KeyLimits(max_cost_per_day=usd("0.25"))})
    store.jobs.enqueue([make(f"s{number}", owner="shop") for number in range(5)])
    store.jobs.enqueue([make(f"t{number}") for number in range(5)], "t", BatchOptions(owner="shop"))
    store.jobs.enqueue([make(f"o{number}", owner="other") for number in range(5)])
    admitted = Counter(job_id[0] for job_id in store.attempts.admit(100).ids)
    assert (admitted["s"] + admitted["t"], admitted["o"]) == (2, 5)
    waiting = next(job_id for job_id in ("s2", "t2") if store.jobs.get(job_id).waits)
    what = "the budget of key shop for today (0.25 USD) is used up"
    assert why(store, waiting) == f"{what} or reserved for jobs under way"
    ids = [
        job_id for job_id in store.jobs.get_many([f"{kind}{n}" for kind in "sto" for n in range(5)]) if job_id.admitted
    ]
    store.attempts.claim([job.id for job in ids])
    for job in ids:
        store.attempts.finish(job.id, State.COMPLETED, priced("0.10"), "callback")
    bench.forward(2)
    assert store.attempts.admit(100).ids == ()
    assert why(store, waiting) == (
        "the expected cost of the next job (0.1 USD) exceeds the 0.05 USD left of the budget of key shop for today "
        "(0.25 USD), goes on at 2023-11-15T00:00:00+00:00"
    )
    assert store.batches.get("t").paused is False
    assert store.batches.get("t").reason == why(store, waiting)
    assert bench.audit() == []
    bench.forward(DAY / 2)
    assert len(store.attempts.admit(100).ids) == 2
    assert bench.audit() == []


def test_a_higher_budget_takes_effect_soon(bench: Bench, make: Make, run: Callable[..., None]) -> None:
    run("first", "0.10")
    limits = {"shop": KeyLimits(max_cost_per_day=usd("0.05"))}
    store = bench.with_settings(key_limits=limits)
    store.jobs.enqueue([make("fox", owner="shop")])
    assert store.attempts.admit(10).ids == ()
    assert why(store, "fox") == (
        "the budget of key shop for today (0.05 USD) is less than the expected cost of the next job (0.1 USD)"
    )
    store = bench.with_settings(key_limits={"shop": KeyLimits(max_cost_per_day=usd("1"))})
    bench.forward(60)
    assert store.attempts.admit(10).ids == ("fox",)


def two_lanes(bench: Bench, **limits: Any) -> Store:
    lanes = (LaneSettings(name="a", max_cost_per_day=usd("0.25")), LaneSettings(name="b", **limits))
    return bench.with_settings(named_lanes=pooled(lanes))


def test_a_lane_short_of_budget_admits_cheaper_jobs(bench: Bench, make: Make, run: Callable[..., None]) -> None:
    run("first", "0.10")
    run("second", "0.40", n=4)
    store = bench.with_settings(named_lanes=pooled([LaneSettings(max_cost_per_day=usd("1"))]))
    store.jobs.enqueue([make(f"d{number}", n=4) for number in range(3)], "dear")
    store.jobs.enqueue([make(f"c{number}") for number in range(3)], "cheap")
    # 0.50 USD is already spent
    assert set(store.attempts.admit(100).ids) == {"d0", "c0"}
    assert store.attempts.admit(100).ids == ()
    what = "the budget of lane default for today (1 USD) is used up"
    assert why(store, "c1") == store.batches.get("dear").reason == f"{what} or reserved for jobs under way"
    assert bench.audit() == []
    bench.forward(DAY / 2)
    # The batch that was passed has saved up no share.
    assert len(store.attempts.admit(100).ids) >= 1
    assert bench.audit() == []


def test_the_other_lane_of_a_pool_continues(bench: Bench, make: Make, run: Callable[..., None]) -> None:
    run("first", "0.10")
    store = two_lanes(bench)
    a, b = store.context.settings.lanes
    store.jobs.enqueue([make(f"x{number}") for number in range(6)])
    assert store.attempts.admit(10, a).ids == ("x0", "x1")
    assert store.attempts.admit(10, a).ids == ()
    assert why(store, "x2") is None
    assert store.attempts.admit(2, b).ids == ("x2", "x3")
    store.lanes.hold("out of order", base=60, cap=60, lane="b")
    assert why(store, "x4") == "the budget of lane a for today (0.25 USD) is used up or reserved for jobs under way"
    assert bench.audit() == []


def test_the_reason_of_a_waiting_job_names_the_hold(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")])
    assert why(bench.store, "fox") is None
    bench.store.lanes.hold("402: balance exhausted", base=60, cap=60)
    assert (why(bench.store, "fox") or "").endswith(": 402: balance exhausted")


def test_the_reason_of_a_job_without_a_lane_says_so(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox", pool="gone")])
    assert why(bench.store, "fox") == "no configured lane takes it (BOOMERANG_LANES)"


# --- random sequences -------------------------------------------------------------------------------------------------

#: By number of images. Prices are fixed, so each job costs what is reserved for it.
PRICES = {1: usd("0.10"), 2: usd("0.17"), 3: usd("0.40")}


KEYS = {"x": "shop", "y": "shop", "z": "press"}
MONEY = st.sampled_from([usd("0.05"), usd("0.3"), usd("0.8"), usd("2")])


@pytest.mark.slow
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
    max_examples=examples(30),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(data=st.data())
def test_no_cap_is_ever_exceeded(bench: Bench, data: st.DataObject) -> None:
    bench.start_afresh()
    for images, cost in PRICES.items():
        set_price(bench, f"m|{images}|", cost)
    lanes = pooled([LaneSettings(name=name, max_cost_per_day=data.draw(MONEY)) for name in "ab"])
    limits = {key: KeyLimits(max_cost_per_day=data.draw(MONEY)) for key in ("shop", "press")}
    store = bench.with_settings(named_lanes=lanes, key_limits=limits)
    sizes: dict[str, int] = {}
    for batch, key in KEYS.items():
        each: list[int] = data.draw(st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=6))
        jobs = [NewJob(id=f"{batch}{number}", text="{}", model="m", n=size) for number, size in enumerate(each)]
        sizes |= {job.id: job.n for job in jobs}
        store.jobs.enqueue(jobs, batch, BatchOptions(owner=key, max_cost=data.draw(st.none() | MONEY)))
    running: list[str] = []
    for _ in range(data.draw(st.integers(5, 25))):
        random_step(bench, store, data, sizes, running)
        check_caps(bench, store)
    assert audit(store) == []


def random_step(bench: Bench, store: Store, data: st.DataObject, sizes: dict[str, int], running: list[str]) -> None:
    match data.draw(st.sampled_from(["admit", "admit", "end", "end", "fail", "cancel", "wait"])):
        case "admit":
            lane = data.draw(st.sampled_from(store.context.settings.lanes))
            running += [claim.id for claim in store.attempts.claim(store.attempts.admit(3, lane).ids)]
        case "end" if running:
            job_id = running.pop(data.draw(st.integers(0, len(running) - 1)))
            result = Result(output=({"type": "image", "url": "u"},), cost=PRICES[sizes[job_id]])
            store.attempts.finish(job_id, State.COMPLETED, result, "callback")
        case "fail" if running:
            store.attempts.finish(running.pop(), State.FAILED, FAILED, "callback")
        case "cancel":
            job_id = data.draw(st.sampled_from(sorted(sizes)))
            if not store.jobs.get(job_id).state.final:
                store.jobs.cancel(job_id)
        case "wait":
            bench.forward(data.draw(st.sampled_from([2, 60])))


def check_caps(bench: Bench, store: Store) -> None:
    held = reserved(bench)
    for name in KEYS:
        batch = store.batches.get(name)
        if batch.max_cost is not None:
            assert batch.cost + held.get("b" + name, 0) <= batch.max_cost
    for key, limits in store.context.settings.key_limits.items():
        spent = store.statistics.spend(By.KEY, TODAY, TODAY, Only(key=key)).cost
        assert spent + held.get("k" + key, 0) <= (limits.max_cost_per_day or 0)
    for lane in store.context.settings.lanes:
        spent = store.statistics.spend(By.LANE, TODAY, TODAY, Only(lane=lane.name)).cost
        assert spent + held.get("l" + lane.name, 0) <= (lane.max_cost_per_day or 0)


# --- the ledger -------------------------------------------------------------------------------------------------------


def rows(store: Store, by: By, first: date = TODAY, last: date = TOMORROW, **only: str) -> list[tuple[str, str, int]]:
    return [(row.name, f"{row.cost:f}", row.jobs) for row in store.statistics.spend(by, first, last, Only(**only)).rows]


def test_spending_is_summed_by_day_key_batch_model_and_lane(bench: Bench, make: Make, run: Callable[..., None]) -> None:
    store = two_lanes(bench)
    a, b = store.context.settings.lanes
    result = Result(output=({"type": "image", "url": "u"},), cost=usd("0.10"))

    def complete(lane: LaneSettings, job_id: str, batch: str | None = None, **changes: Any) -> None:
        store.jobs.enqueue([make(job_id, **changes)], batch, BatchOptions(owner="shop"))
        store.attempts.claim(store.attempts.admit(10, lane).ids)
        store.attempts.finish(job_id, State.COMPLETED, result, "callback")

    complete(a, "one", "x")
    complete(b, "two", "x")
    complete(b, "three", owner="press|1")
    complete(b, "free")
    bench.forward(DAY / 2)
    complete(b, "four", "y")
    assert rows(store, By.DAY) == [("2023-11-14", "0.4", 4), ("2023-11-15", "0.1", 1)]
    assert rows(store, By.KEY) == [("shop", "0.3", 3), ("", "0.1", 1), ("press|1", "0.1", 1)]
    assert rows(store, By.BATCH) == [("", "0.2", 2), ("x", "0.2", 2), ("y", "0.1", 1)]
    assert rows(store, By.MODEL) == [(MODEL, "0.5", 5)]
    assert rows(store, By.LANE) == [("b", "0.4", 4), ("a", "0.1", 1)]
    assert rows(store, By.LANE, batch="x") == [("a", "0.1", 1), ("b", "0.1", 1)]
    assert rows(store, By.DAY, key="press|1") == [("2023-11-14", "0.1", 1)]
    assert rows(store, By.DAY, last=TODAY, lane="b", model=MODEL) == [("2023-11-14", "0.3", 3)]
    assert rows(store, By.DAY, first=TOMORROW) == [("2023-11-15", "0.1", 1)]
    total = store.statistics.spend(By.MODEL, TODAY, TOMORROW)
    assert (total.cost, total.jobs) == (store.statistics.totals().cost, 5)
    assert bench.audit() == []


def test_the_sums_of_today_are_read_without_the_ledger(bench: Bench, run: Callable[..., None]) -> None:
    read, now = bench.store.statistics.today, bench.store.liveness.pulse().now
    assert read(["default"], ["shop"], now=now).lanes == {"default": 0}
    run("a", "0.10", owner="shop")
    run("b", "0.20", owner="press")
    run("c", "0.05", owner="shop")
    today = read(["default", "other"], ["press", "shop", "absent"], now=now)
    assert today.lanes == {"default": usd("0.35"), "other": 0}
    assert today.keys == {"press": usd("0.2"), "shop": usd("0.15"), "absent": 0}
    assert today.ends.date() == TOMORROW
    assert read(["default"], ["shop"], now=now + DAY).lanes == {"default": 0}
    assert read([], [], now=now).keys == {}


def test_the_ledger_counts_failures_with_a_cost_and_all_results(bench: Bench, make: Make, priced: Priced) -> None:
    store = bench.store
    for number, cost in enumerate(["0", "0.05"]):
        store.jobs.enqueue([make(f"f{number}")])
        end(store, f"f{number}", Result(error=FAILED.error, cost=usd(cost)), State.FAILED)
    bench.put(State.IN_PROGRESS, "late")
    store.jobs.cancel("late")
    store.attempts.finish("late", State.COMPLETED, priced("0.10"), "callback")
    store.attempts.finish("late", State.COMPLETED, priced("0.10"), "callback")
    bench.put(State.COMPLETED, "free")
    assert rows(store, By.DAY) == [("2023-11-14", "0.15", 3)]


def test_old_days_are_removed_but_stay_in_the_total(bench: Bench, run: Callable[..., None]) -> None:
    run("old", "0.10")
    bench.forward(DAY)
    run("newer", "0.20")
    bench.forward(DAY * (DAYS_KEPT - 1))
    bench.store.jobs.purge()
    assert rows(bench.store, By.DAY) == [("2023-11-15", "0.2", 1)]
    bench.forward(DAY)
    bench.store.jobs.purge()
    assert rows(bench.store, By.DAY) == []
    assert bench.store.statistics.totals().cost == usd("0.3")
    assert bench.audit() == []


def test_money_is_counted_to_the_nano_dollar() -> None:
    assert nano(usd("0.0000000015")) == 2
    assert nano(usd("1000000000")) == 10**18
