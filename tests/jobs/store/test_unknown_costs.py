"""Unreadable costs: they are reported and counted, stop everything under a limit, and can be settled."""

import logging
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from jobs.audit.audit import audit
from jobs.audit.repair import repair
from jobs.failures import NO_OUTPUT
from jobs.key_limits import KeyLimits
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import BatchOptions, NewJob
from jobs.provider_result import ended
from jobs.result import Result
from jobs.states import State
from jobs.store.batches import CAP_REPEAT
from jobs.store.cost_log import CostLog
from jobs.store.manual import Sample
from jobs.store.outcomes.repairs import SettleCostOutcome
from jobs.store.spending import DAY, By
from jobs.store.store import Store
from jobs.store.stuck import Kind, dead_ends
from schemas import read_task
from tests.support.bench import IMAGES, Bench

Make = Callable[..., NewJob]
TODAY, TOMORROW = date(2023, 11, 14), date(2023, 11, 15)
UNREADABLE = Result(output=IMAGES.output, unreadable_cost="$0.0065")
FAILED = {"code": "1301", "message": "no"}
BUSY = {"code": "1302", "message": "too fast"}
CAP = Decimal("0.10")
#: Spending by label has its own ledger and call, `spend_by_label`.
ENTRY_GROUPINGS = [by for by in By if by is not By.LABEL]


def usd(text: str) -> Decimal:
    return Decimal(text)


def enqueue(store: Store, make: Make, batch: str | None = "x", many: int = 6, owner: str = "", **changes: str) -> None:
    options = BatchOptions(owner=owner, max_cost=CAP if batch else None)
    name = batch or "job"
    jobs = [make(f"{name}{number}", owner="" if batch else owner, **changes) for number in range(many)]
    store.jobs.enqueue(jobs, batch, options)


def end(store: Store, result: Result, state: State = State.COMPLETED, lane: LaneSettings | None = None) -> list[str]:
    """Admit what may go, and end all of it in this way."""
    ids = [claim.id for claim in store.attempts.claim(store.attempts.admit(100, lane).ids)]
    for job_id in ids:
        assert store.attempts.finish(job_id, state, result, "poll").outcome in ("finished", "again")
    return ids


def teach(bench: Bench, cost: str = "0.0065") -> None:
    amount = str(int(usd(cost) * 10**9))
    bench.raw.hset(bench.keys.singleton("prices"), "kirin_image_omni|1|", " ".join([amount] * 3))


def stuck(store: Store) -> Sample:
    return store.manual.stuck(0.0, 10).unknown_costs


# --- from the provider's answer to every figure -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cost", "amount", "sent"),
    [
        ("0.006666666666666666666666666667", "0.006666667", None),
        (1.7999999999999998e-05, "0.000018", None),
        ("0.00649999999999999994504618028", "0.0065", None),
        ("0.0000000005", "0", None),
        (10**6, "1000000", None),
        (10**6 + 1, "0", "1000001"),
        ("$0.0065", "0", "$0.0065"),
        ("0,0065", "0", "0,0065"),
        ({"amount": "0.0065"}, "0", '{"amount": "0.0065"}'),
        ("\ud800\x1b[31m", "0", "\\ud800\\x1b[31m"),
        (None, "0", ""),
    ],
)
def test_every_figure_agrees_with_what_the_provider_sent(
    bench: Bench, make: Make, cost: object, amount: str, sent: str | None
) -> None:
    store = bench.with_settings(key_limits={"shop": KeyLimits(max_cost_per_day=CAP)})
    enqueue(store, make, many=1, owner="shop")
    content = [{"type": "image", "url": "https://cdn.example.com/1.png"}]
    answer = {"id": "t", "status": "completed", "output": [{"content": content}], "usage": {"cost": cost}}
    state, result = ended(read_task(answer))
    assert end(store, result, state) == ["x0"]
    job, batch, paid = store.jobs.get("x0"), store.batches.get("x"), usd(amount)
    assert job.unknown_cost == sent
    assert (job.result.cost if job.result else None) == (paid if sent is None else None)
    assert batch.cost == store.statistics.totals().cost == store.lanes.get("default").cost == paid
    assert batch.unknown_costs == (sent is not None)
    for by in ENTRY_GROUPINGS:
        spend = store.statistics.spend(by, TODAY, TODAY)
        assert (spend.cost, spend.unknown_costs) == (paid, batch.unknown_costs)
    assert audit(store) == []


def test_the_first_rounding_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    log, rounded = CostLog(), Result(cost=usd("0.006666667"), rounded_cost="0.0066666666")
    caplog.set_level(logging.INFO)
    for result in (rounded, rounded, UNREADABLE, Result(cost=usd("11")), Result(cost=usd("0.0065")), IMAGES):
        log.note("fox", result)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "WARNING", "WARNING"]
    assert all("fox" in record.getMessage() for record in caplog.records)


# --- a batch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["known price", "unknown price"])
@pytest.mark.parametrize(
    ("result", "state", "sent"),
    [
        (UNREADABLE, State.COMPLETED, "$0.0065"),
        (IMAGES, State.COMPLETED, ""),
        (Result(error=FAILED, unreadable_cost="0,0065"), State.FAILED, "0,0065"),
        (Result(error={"code": NO_OUTPUT, "message": "no"}), State.FAILED, ""),
    ],
    ids=["unreadable", "no amount", "a failure", "completed without a result"],
)
def test_an_unknown_cost_pauses_a_batch_with_a_cap(
    bench: Bench, make: Make, *, known: bool, result: Result, state: State, sent: str
) -> None:
    if known:
        teach(bench)
    store = bench.with_settings(max_in_flight=2)
    enqueue(store, make)
    ids = end(store, result, state)
    assert len(ids) == (2 if known else 1)
    bench.forward(2)
    assert store.attempts.admit(10).ids == ()
    batch, job = store.batches.get("x"), store.jobs.get("x0")
    assert (batch.paused, batch.cost, batch.unknown_costs) == (True, 0, len(ids))
    assert (job.unknown_cost, job.result.cost if job.result else "") == (sent, None)
    reason = batch.reason or ""
    assert "unknown" in reason
    assert "settle-cost" in reason
    assert store.jobs.with_reason(store.jobs.get("x5")).reason == reason
    assert store.lanes.get("default").unknown_costs == len(ids)
    assert stuck(store).count == len(ids)
    found = {each.kind: each for each in dead_ends(store)}
    assert (sent or "no amount") in found[Kind.COST].why
    assert found[Kind.CAP].id == "batch x"
    assert audit(store) == []


def test_a_failure_without_an_amount_is_free(bench: Bench, make: Make) -> None:
    teach(bench)
    enqueue(bench.store, make)
    assert len(end(bench.store, Result(error=FAILED), State.FAILED)) == 6
    assert stuck(bench.store).count == 0


def test_without_a_limit_a_missing_amount_is_nothing_special(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("a"), make("b")], "free")
    end(bench.store, IMAGES)
    assert stuck(bench.store).count == 0
    assert bench.store.jobs.get("a").unknown_cost is None
    assert bench.audit() == []


def test_a_new_cap_waives_what_is_unknown_until_then(bench: Bench, make: Make) -> None:
    store = bench.store
    enqueue(store, make)
    assert end(store, UNREADABLE) == ["x0"]
    bench.forward(2)
    store.attempts.admit(10)
    store.batches.resume("x")
    assert store.attempts.admit(10).ids == ()
    assert store.batches.get("x").paused
    store.batches.resume("x", max_cost=CAP)
    bench.forward(2)
    assert end(store, UNREADABLE) == ["x1"]
    bench.forward(2)
    assert store.attempts.admit(10).ids == ()
    assert store.batches.get("x").unknown_costs == 2
    # What is waived does not count when it is settled: the newer one still stops the batch.
    assert store.manual.settle_cost("x0", usd("0.0065")).outcome is SettleCostOutcome.SETTLED
    assert store.batches.get("x").paused
    assert store.manual.settle_cost("x1", usd("0.0065")).outcome is SettleCostOutcome.SETTLED
    assert not store.batches.get("x").paused
    assert store.batches.get("x").cost == usd("0.013")
    assert bench.audit() == []


@pytest.mark.parametrize("before", [0, 1], ids=["none known at first", "one known at first"])
@pytest.mark.parametrize(
    ("pause", "cap", "waived"),
    [(0, CAP, False), (CAP_REPEAT - 10, CAP, False), (CAP_REPEAT, CAP, True), (0, 2 * CAP, True)],
)
def test_a_repeated_resume_waives_nothing_that_came_since(
    bench: Bench, make: Make, *, before: int, pause: float, cap: Decimal, waived: bool
) -> None:
    store = bench.store
    enqueue(store, make)
    for _ in range(before):
        end(store, UNREADABLE)
        bench.forward(2)
    # Given a resume whose answer is lost, and an unknown cost before the client repeats it
    store.batches.resume("x", max_cost=CAP)
    bench.forward(2)
    assert end(store, UNREADABLE) != []
    bench.forward(2 + pause)
    store.attempts.admit(10)
    assert store.batches.get("x").paused
    store.batches.resume("x", max_cost=cap)
    bench.forward(2)
    assert bool(store.attempts.admit(10).ids) is waived
    assert store.batches.get("x").paused is not waived
    assert store.batches.get("x").unknown_costs == before + 1
    assert bench.audit() == []


def test_settling_the_newer_one_lets_the_batch_go_on(bench: Bench, make: Make) -> None:
    store = bench.store
    enqueue(store, make)
    end(store, UNREADABLE)
    bench.forward(2)
    store.batches.resume("x", max_cost=CAP)
    bench.forward(2)
    end(store, UNREADABLE)
    bench.forward(2)
    assert store.attempts.admit(10).ids == ()
    settled = store.manual.settle_cost("x1", usd("0.0065"))
    assert (settled.outcome, settled.admit_hint) == (SettleCostOutcome.SETTLED, True)
    assert not store.batches.get("x").paused
    assert end(store, Result(output=IMAGES.output, cost=usd("0.0065"))) != []
    assert bench.audit() == []


def test_a_settled_cost_counts_once_wherever_money_is_counted(bench: Bench, make: Make) -> None:
    store = bench.store
    enqueue(store, make, owner="shop")
    end(store, UNREADABLE)
    for by in ENTRY_GROUPINGS:
        spend = store.statistics.spend(by, TODAY, TODAY)
        assert (spend.cost, spend.jobs, spend.unknown_costs) == (0, 1, 1)
    bench.forward(DAY / 2)
    assert store.manual.settle_cost("x0", usd("0.0065")).outcome is SettleCostOutcome.SETTLED
    before = bench.dump()
    assert store.manual.settle_cost("x0", usd("0.0065")).outcome is SettleCostOutcome.OTHER
    assert bench.dump() == before
    for by in ENTRY_GROUPINGS:
        spend = store.statistics.spend(by, TODAY, TODAY)
        assert (spend.cost, spend.jobs, spend.unknown_costs) == (usd("0.0065"), 1, 0)
        assert store.statistics.spend(by, TOMORROW, TOMORROW).jobs == 0
    job = store.jobs.get("x0")
    assert job.unknown_cost is None
    assert job.result == Result(output=IMAGES.output, cost=usd("0.0065"))
    assert store.batches.get("x").cost == store.statistics.totals().cost == usd("0.0065")
    assert store.lanes.get("default").cost == usd("0.0065")
    assert store.manual.settle_cost("absent", usd("1")).outcome is SettleCostOutcome.UNKNOWN
    assert bench.audit() == []


def test_the_unknown_cost_of_an_earlier_attempt_stays_with_the_job(bench: Bench, make: Make) -> None:
    store = bench.store
    lanes = pooled([LaneSettings(name="a"), LaneSettings(name="b")])
    bench.store = store = bench.with_settings(named_lanes=lanes, max_attempts=3)
    a, b = store.context.settings.lanes
    enqueue(store, make, many=1, batch=None, owner="shop")
    end(store, Result(error=BUSY, unreadable_cost="?"), State.FAILED, a)
    bench.forward(DAY)
    store.attempts.claim_due(10)
    claim = store.attempts.claim(store.attempts.admit(10, b).ids)[0]
    store.attempts.finish(claim.external_task_id, State.FAILED, Result(error=BUSY, unreadable_cost="!"), "poll")
    assert store.jobs.get("job0").unknown_cost == "!"
    assert store.statistics.spend(By.LANE, TODAY, TOMORROW).unknown_costs == 1
    assert bench.audit() == []
    bench.forward(DAY)
    store.attempts.claim_due(10)
    claim = store.attempts.claim(store.attempts.admit(10, a).ids)[0]
    result = Result(output=IMAGES.output, cost=usd("0.01"))
    store.attempts.finish(claim.external_task_id, State.COMPLETED, result, "poll")
    assert store.jobs.get("job0").unknown_cost == "!"
    store.manual.settle_cost("job0", usd("0.02"))
    assert store.jobs.get("job0").result == result
    assert {row.name: row.cost for row in store.statistics.spend(By.LANE, TODAY, date(2023, 11, 17)).rows} == {
        "a": usd("0.01"),
        "b": usd("0.02"),
    }
    assert store.statistics.totals().cost == usd("0.03")
    assert bench.audit() == []


def test_a_cancelled_job_with_a_late_unknown_cost_counts_as_one(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS, "fox")
    bench.store.jobs.cancel("fox")
    bench.store.attempts.finish("fox", State.COMPLETED, UNREADABLE, "poll")
    assert bench.store.jobs.get("fox").unknown_cost == "$0.0065"
    assert stuck(bench.store).count == 1
    assert bench.audit() == []


# --- daily budgets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [UNREADABLE, IMAGES], ids=["unreadable", "no amount"])
@pytest.mark.parametrize("limit", ["key", "lane"])
@pytest.mark.parametrize("way_on", ["settled", "midnight"])
def test_an_unknown_cost_stops_a_daily_budget(
    bench: Bench, make: Make, result: Result, limit: str, way_on: str
) -> None:
    teach(bench)
    if limit == "key":
        store = bench.with_settings(max_in_flight=1, key_limits={"shop": KeyLimits(max_cost_per_day=CAP)})
    else:
        store = bench.with_settings(named_lanes=pooled([LaneSettings(max_in_flight=1, max_cost_per_day=CAP)]))
    enqueue(store, make, batch=None, owner="shop")
    assert end(store, result) == ["job0"]
    bench.forward(2)
    assert store.attempts.admit(10).ids == ()
    reason = store.jobs.with_reason(store.jobs.get("job1")).reason or ""
    assert "unknown" in reason
    assert "2023-11-15" in reason
    assert audit(store) == []
    if way_on == "settled":
        assert store.manual.settle_cost("job0", usd("0.0065")).outcome is SettleCostOutcome.SETTLED
        bench.forward(60)
    else:
        bench.forward(DAY / 2)
    assert store.attempts.admit(10).ids == ("job1",)
    assert audit(store) == []


def test_another_lane_and_another_key_go_on(bench: Bench, make: Make) -> None:
    lanes = pooled([LaneSettings(name="a", max_cost_per_day=CAP), LaneSettings(name="b")])
    store = bench.with_settings(named_lanes=lanes, key_limits={"shop": KeyLimits(max_cost_per_day=CAP)})
    a, b = store.context.settings.lanes
    enqueue(store, make, batch=None, many=2, owner="shop")
    end(store, UNREADABLE, lane=a)
    store.jobs.enqueue([make("other", owner="press")])
    assert store.attempts.admit(10, a).ids == ()
    assert store.attempts.admit(10, b).ids == ("other",)
    assert audit(store) == []


# --- damage and forgetting --------------------------------------------------------------------------------------------


def test_the_audit_finds_and_repairs_what_differs(bench: Bench, make: Make) -> None:
    store = bench.store
    enqueue(store, make)
    end(store, UNREADABLE)
    bench.raw.delete(bench.keys.singleton("unknown_costs"))
    bench.raw.hset(bench.keys.member("batch", "x"), "unknown_costs", 7)
    bench.raw.hset(bench.keys.member("spent", str((TODAY - date(1970, 1, 1)).days)), "!ldefault", 4)
    bench.raw.zadd(bench.keys.singleton("unknown_costs"), {"nobody": 1})
    assert {finding.rule for finding in audit(store)} == {"unknown_cost", "unknown_costs", "ledger"}
    repair(store)
    assert audit(store) == []
    assert [job_id for job_id, _ in stuck(store).named] == ["x0"]
    assert store.batches.get("x").unknown_costs == 1


def test_a_forgotten_job_leaves_nothing_behind(bench: Bench, make: Make) -> None:
    store = bench.with_settings(retention=1)
    enqueue(store, make)
    end(store, UNREADABLE)
    store.batches.resume("x", max_cost=CAP)
    bench.forward(10)
    store.jobs.purge()
    assert stuck(store).count == 0
    assert store.batches.get("x").unknown_costs == 0
    assert audit(store) == []


@pytest.mark.parametrize("second", [None, "0.003"])
def test_a_late_result_leaves_the_unknown_cost_of_an_earlier_attempt(
    bench: Bench, make: Make, second: str | None
) -> None:
    store = bench.store
    store.jobs.enqueue([make("fox")], "x", BatchOptions(max_cost=CAP))
    nothing = {"code": NO_OUTPUT, "message": "no"}
    end(store, Result(error=nothing), State.FAILED)
    store.jobs.retry("fox")
    store.batches.resume("x", max_cost=CAP)
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    answer = Result(error=nothing, cost=usd(second) if second else None)
    store.attempts.finish(claim.external_task_id, State.FAILED, answer, "poll")

    store.attempts.finish(
        claim.external_task_id, State.COMPLETED, Result(output=IMAGES.output, cost=usd("0.01")), "callback"
    )

    assert store.batches.get("x").unknown_costs == 1
    assert stuck(store).count == 1
    assert store.batches.get("x").cost == usd("0.01")
    assert bench.audit() == []
