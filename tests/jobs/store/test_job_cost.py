"""What a job cost: all its attempts together, whatever ended them."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from jobs.links import NO_LINKS
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.results.sidecar import write_sidecar
from jobs.saved import Saved, SavedOutput
from jobs.serializers.jobs import serialize_job
from jobs.states import State
from jobs.store.store import Store
from jobs.units import dollars, nano
from tests.support.bench import IMAGES, Bench

Make = Callable[..., NewJob]
BUSY, NO = {"code": "1302", "message": "too fast"}, {"code": "1301", "message": "no"}


def attempt(store: Store, state: State, result: Result) -> None:
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    assert store.attempts.finish(claim.external_task_id, state, result, "poll").outcome in ("finished", "again")


@pytest.mark.parametrize(
    "cost",
    ["0", "0.0065", "1E-7", "12.5E-9", "0.0000000005", "0.0000000015", "0.00000000150000000001", "1E+2", "1000000",
     "123.4567890125", "999999.999999999", "0.1234567890123456789012345678"],
)  # fmt: skip
def test_a_retry_keeps_what_the_failed_attempt_cost(cost: str, bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")], "b")
    attempt(bench.store, State.FAILED, Result(error=NO, cost=Decimal(cost)))
    assert bench.store.jobs.get("fox").cost == Decimal(cost)
    bench.store.jobs.retry("fox")

    waiting = serialize_job(bench.store.jobs.get("fox"), NO_LINKS)

    counted = dollars(nano(Decimal(cost)))
    assert Decimal(waiting["cost"] or 0) == counted == bench.store.batches.get("b").cost
    assert waiting["usage"] is None
    assert bench.audit() == []


def test_all_attempts_count_and_usage_is_the_last_ones(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")], "b", BatchOptions())
    attempt(bench.store, State.FAILED, Result(error=BUSY, cost=Decimal("0.001")))
    bench.forward(3600)
    bench.store.attempts.claim_due(10)
    attempt(bench.store, State.FAILED, Result(error=NO, cost=Decimal("0.002")))
    bench.store.jobs.retry("fox")
    attempt(bench.store, State.COMPLETED, Result(output=IMAGES.output, cost=Decimal("0.004"), discount=1))

    view = serialize_job(bench.store.jobs.get("fox"), NO_LINKS)

    assert (view["cost"], view["usage"]) == ("0.007", {"cost": "0.004", "discount": 1})
    assert (view["external_task_id"], view["provider_external_id"]) == ("fox", "fox~3")
    assert bench.store.batches.get("b").cost == Decimal("0.007")
    output = SavedOutput(name="fox-0.png", sha256="0" * 64, size=1, content_type="image/png")
    job = bench.store.jobs.get("fox", text=True)
    sidecar = json.loads(write_sidecar(job, Saved(job.created_at, (output,)), {}))
    assert (sidecar["cost"], sidecar["usage"]) == ("0.007", {"cost": "0.004"})
    assert (sidecar["external_task_id"], sidecar["provider_external_id"]) == ("fox", "fox~3")
    assert bench.audit() == []


def test_a_settled_cost_of_an_earlier_attempt_counts(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")])
    attempt(bench.store, State.FAILED, Result(error=BUSY, unreadable_cost="?"))
    bench.forward(3600)
    bench.store.attempts.claim_due(10)
    attempt(bench.store, State.COMPLETED, Result(output=IMAGES.output, cost=Decimal("0.004")))

    bench.store.manual.settle_cost("fox", Decimal("0.02"))

    assert bench.store.jobs.get("fox").cost == Decimal("0.024")
    assert bench.audit() == []


def test_the_audit_reports_costs_of_earlier_attempts_that_nobody_counted(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")])
    bench.raw.hset(bench.keys.member("job", "fox"), "ec", 7)

    assert [(each.rule, each.id) for each in bench.audit()] == [("spent", "all")]


def test_no_price_is_no_cost(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")])
    attempt(bench.store, State.FAILED, Result(error=NO))

    assert serialize_job(bench.store.jobs.get("fox"), NO_LINKS)["cost"] is None
