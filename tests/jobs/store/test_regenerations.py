"""Generating the images of a completed job once more: a new job, which is linked to the completed one."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from jobs.errors import JobNotFound, NotAllowed
from jobs.job import Result
from jobs.new_job import BatchOptions, NewJob
from jobs.review import Verdict
from jobs.room import Room
from jobs.states import State
from jobs.store.outcomes.jobs import RegenerateOutcome
from tests.support.bench import IMAGES, Bench

Make = Callable[..., NewJob]
PAID = replace(IMAGES, cost=Decimal("0.25"))


def complete(bench: Bench, result: Result = PAID) -> str:
    (claim,) = bench.store.attempts.claim(bench.store.attempts.admit(1).ids)
    bench.store.attempts.finish(claim.external_task_id, State.COMPLETED, result, "poll")
    return claim.id


@pytest.fixture
def fox(bench: Bench, make: Make) -> Bench:
    """A completed job `fox` in the batch `b`, whose image is rejected."""
    bench.store.jobs.enqueue([make("fox")], "b", BatchOptions(owner="shop", labels={"season": "spring"}))
    complete(bench)
    bench.store.reviews.review("fox", 0, Verdict.REJECTED)
    return bench


def test_the_new_job_leaves_the_completed_one_as_it_is_and_costs_again(fox: Bench, make: Make) -> None:
    before = fox.store.jobs.get("fox")

    made = fox.store.regenerations.regenerate("fox", make("fox.r2"), caller="shop")

    assert (made.outcome, made.job, made.admit_hint) == (RegenerateOutcome.CREATED, "fox.r2", True)
    assert fox.store.jobs.get("fox") == replace(before, regenerated_by="fox.r2")
    waiting = fox.store.jobs.get("fox.r2")
    assert (waiting.state, waiting.batch, waiting.regenerates, waiting.revision) == (State.QUEUED, "b", "fox", 1)
    assert fox.store.reviews.of(["fox.r2"]) == [{}]
    batch = fox.store.batches.get("b")
    assert (batch.accepted, batch.counts[State.COMPLETED], batch.done) == (2, 1, False)
    assert complete(fox) == "fox.r2"
    assert fox.store.batches.get("b").cost == fox.store.statistics.totals().cost == Decimal("0.50")
    assert [job.id for job in fox.store.batches.jobs("b")] == ["fox", "fox.r2"]
    assert fox.audit() == []


def test_a_repeat_buys_nothing_and_another_request_is_refused(fox: Bench, make: Make) -> None:
    regenerate = fox.store.regenerations.regenerate
    regenerate("fox", make("fox.r2"))
    before = fox.dump()
    assert regenerate("fox", make("fox.r2")).outcome is RegenerateOutcome.SAME
    assert regenerate("fox", make("another id")).job == "fox.r2"
    other = regenerate("fox", make("fox.r2", '{"prompt":"another"}'))
    assert (other.outcome, other.job) == (RegenerateOutcome.OTHER, "fox.r2")
    assert fox.dump() == before
    complete(fox)
    assert regenerate("fox.r2", make("fox.r3")).outcome is RegenerateOutcome.CREATED
    assert fox.audit() == []


@pytest.mark.parametrize("state", [each for each in State if each is not State.COMPLETED])
def test_only_a_job_with_output_is_generated_once_more(bench: Bench, make: Make, state: State) -> None:
    bench.put(state)
    before = bench.dump()
    with pytest.raises(NotAllowed):
        bench.store.regenerations.regenerate("fox", make("fox.r2"))
    with pytest.raises(JobNotFound):
        bench.store.regenerations.regenerate("nobody", make("fox.r2"))
    assert bench.dump() == before


def test_a_cancelled_job_whose_images_came_late_is_generated_once_more(bench: Bench, make: Make) -> None:
    bench.claimed()
    bench.store.jobs.cancel("fox")
    with pytest.raises(NotAllowed):
        bench.store.regenerations.regenerate("fox", make("fox.r2"))
    bench.store.attempts.finish("fox", State.COMPLETED, PAID, "callback")
    assert bench.store.regenerations.regenerate("fox", make("fox.r2")).outcome is RegenerateOutcome.CREATED
    assert bench.audit() == []


def test_an_id_that_is_taken_and_a_full_service_change_nothing(fox: Bench, make: Make) -> None:
    fox.store.jobs.enqueue([make("hen", owner="shop")])
    before = fox.dump()
    regenerate = fox.store.regenerations.regenerate
    assert regenerate("fox", make("hen")).outcome is RegenerateOutcome.CONFLICT
    assert regenerate("fox", make("fox.r2"), room=Room(owner="shop", most=0)).outcome is RegenerateOutcome.FULL
    missing = make("fox.r2", '{"params":{"image":"image:sha256:' + "a" * 64 + '"}}')
    assert regenerate("fox", missing).outcome is RegenerateOutcome.IMAGELESS
    assert fox.dump() == before


def test_a_batch_at_its_cap_does_not_send_the_new_job(bench: Bench, make: Make) -> None:
    bench.store.jobs.enqueue([make("fox")], "b", BatchOptions(max_cost=Decimal("0.30")))
    complete(bench)
    assert bench.store.regenerations.regenerate("fox", make("fox.r2")).outcome is RegenerateOutcome.CREATED
    assert bench.store.attempts.admit(10).ids == ()
    assert bench.store.batches.get("b").cost == Decimal("0.25")


def test_the_links_go_with_the_jobs(fox: Bench, make: Make) -> None:
    fox.store.regenerations.regenerate("fox", make("fox.r2"))
    fox.forward(1_000_000)
    fox.store.jobs.purge()
    with pytest.raises(JobNotFound):
        fox.store.jobs.get("fox")
    assert fox.store.jobs.get("fox.r2").regenerates == "fox"
    assert fox.audit() == []
