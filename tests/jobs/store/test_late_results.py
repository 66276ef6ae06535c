"""A result that comes after its job failed because the task was completed without one."""

from decimal import Decimal

import pytest

from jobs.audit.audit import audit
from jobs.failures import NO_OUTPUT
from jobs.job import Delivery
from jobs.new_job import BatchOptions
from jobs.result import Result
from jobs.states import State
from jobs.store.spending import DAY
from tests.support.bench import IMAGES, Bench, MakeJob

CAP = Decimal(1)
COSTS = [None, "0", "0.0065", "0.000000001", "0.02", "999999.999999999"]


def failure(cost: str | None, code: str = NO_OUTPUT) -> Result:
    return Result(error={"code": code, "message": "no"}, cost=usd(cost))


def usd(cost: str | None) -> Decimal | None:
    return None if cost is None else Decimal(cost)


def begin(bench: Bench, make: MakeJob, batch: str | None, *, owed: str = "n") -> None:
    options = BatchOptions(max_cost=CAP) if batch else None
    bench.store.jobs.enqueue([make("fox", owed=owed)], batch, options)
    bench.store.attempts.claim(bench.store.attempts.admit(10).ids)


@pytest.mark.parametrize("batch", [None, "x"])
@pytest.mark.parametrize("later", COSTS)
@pytest.mark.parametrize("first", COSTS)
def test_a_late_result_replaces_no_output_and_its_cost_counts_once(
    first: str | None, later: str | None, batch: str | None, bench: Bench, make: MakeJob
) -> None:
    begin(bench, make, batch)
    store = bench.store
    ended = store.attempts.finish("fox", State.FAILED, failure(first), "poll")
    assert ended.outcome == "finished"
    bench.forward(DAY)
    result = Result(output=IMAGES.output, cost=usd(later))
    settled = store.attempts.finish("fox", State.COMPLETED, result, "callback")
    assert (settled.outcome, settled.owed) == ("finished", True)
    job = store.jobs.get("fox")
    known = usd(later) if later is not None else usd(first)
    assert (job.state, job.settled_by, job.result and job.result.output) == (State.COMPLETED, "callback", IMAGES.output)
    assert job.result
    assert job.result.cost == known
    assert store.statistics.totals().cost == (known or 0)
    assert (job.unknown_cost is not None) == (batch is not None and known is None)
    assert job.owed == {Delivery.NOTIFY}
    if batch:
        found = store.batches.get(batch)
        assert (found.counts[State.COMPLETED], found.counts[State.FAILED], found.cost) == (1, 0, known or 0)
        assert not found.errors
    assert audit(store) == []
    # A repeat changes nothing
    before = bench.dump()
    assert store.attempts.finish("fox", State.COMPLETED, result, "callback").outcome == "already"
    assert bench.dump() == before


def test_a_poll_under_way_replaces_it_too(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None)
    fence = bench.store.jobs.get("fox").fence
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065"), "poll", fence=fence)
    settled = bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "poll", fence=fence)
    assert settled.outcome == "finished"
    assert bench.store.jobs.get("fox").state is State.COMPLETED


def test_a_result_of_unknown_cost_lets_its_batch_go_on(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, "x")
    bench.store.jobs.enqueue([make("hare")], "x")
    bench.store.attempts.finish("fox", State.FAILED, failure(None), "poll")
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.store.batches.get("x").paused
    bench.store.attempts.finish("fox", State.COMPLETED, Result(output=IMAGES.output, cost=Decimal("0.01")), "callback")
    assert not bench.store.batches.get("x").paused
    assert bench.store.attempts.admit(10).ids == ("hare",)
    assert audit(bench.store) == []


def test_a_cancelled_job_keeps_the_late_result(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None)
    bench.store.jobs.cancel("fox")
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065"), "poll")
    alarm = bench.alarm("fox")
    settled = bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    job = bench.store.jobs.get("fox")
    assert (settled.outcome, job.state, job.result and job.result.output) == (
        "finished",
        State.CANCELLED,
        IMAGES.output,
    )
    assert (bench.alarm("fox"), bench.store.statistics.totals().cost) == (alarm, Decimal("0.0065"))
    assert audit(bench.store) == []


def test_a_celery_message_that_was_finished_is_not_finished_again(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None, owed="nc")
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065"), "poll")
    (due,) = bench.store.deliveries.claim(["fox"])
    for kind in Delivery:
        bench.store.deliveries.record(due, kind)
    bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback")
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}


@pytest.mark.parametrize("code", ["1301", "given_up", ""])
def test_another_failure_is_contradicted(code: str, bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None)
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065", code), "poll")
    assert bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback").outcome == "contradicted"
    assert bench.store.jobs.get("fox").state is State.FAILED


def test_a_failure_replaces_nothing(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None)
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065"), "poll")
    assert bench.store.attempts.finish("fox", State.FAILED, failure("0.01", "1301"), "callback").outcome == "already"
    assert bench.store.statistics.totals().cost == Decimal("0.0065")


def test_after_a_retry_the_late_result_is_of_an_older_attempt(bench: Bench, make: MakeJob) -> None:
    begin(bench, make, None)
    bench.store.attempts.finish("fox", State.FAILED, failure("0.0065"), "poll")
    bench.store.jobs.retry("fox")
    assert bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "callback").outcome == "stale"


@pytest.mark.parametrize(
    ("asked", "results", "outcome"), [(4, 3, "other count"), (4, 5, "other count"), (4, 4, "finished")]
)
def test_only_a_poll_decides_about_another_count(
    asked: int, results: int, outcome: str, bench: Bench, make: MakeJob
) -> None:
    bench.store.jobs.enqueue([make("fox", n=asked)])
    bench.store.attempts.claim(bench.store.attempts.admit(10).ids)
    result = Result(output=IMAGES.output * results, cost=Decimal("0.01"))
    assert bench.store.attempts.finish("fox", State.COMPLETED, result, "callback").outcome == outcome
    if outcome == "other count":
        fence = bench.store.jobs.get("fox").fence
        assert bench.store.attempts.finish("fox", State.COMPLETED, result, "poll", fence=fence).outcome == "finished"
