"""The scripts compare owners: another producer's id is like one that does not exist, whatever the caller checked."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from jobs.errors import BatchNotFound, JobNotFound
from jobs.new_job import BatchOptions, Outcome
from jobs.owners import ANYONE, CELERY
from jobs.states import State
from jobs.store.outcomes.celery import ParkOutcome
from tests.support.bench import Bench, new

S = State
#: Changes of a job, each with the state in which it is allowed.
OF_JOBS: dict[str, tuple[State, Callable[..., Any]]] = {
    "cancel": (S.QUEUED, lambda b, **who: b.store.jobs.cancel("fox", **who)),
    "cancel again": (S.CANCELLED, lambda b, **who: b.store.jobs.cancel("fox", **who)),
    "pause": (S.QUEUED, lambda b, **who: b.store.jobs.pause("fox", **who)),
    "resume": (S.QUEUED, lambda b, **who: (b.store.jobs.pause("fox"), b.store.jobs.resume("fox", **who))),
    "retry": (S.FAILED, lambda b, **who: b.store.jobs.retry("fox", **who)),
    "revise": (S.FAILED, lambda b, **who: b.store.revisions.revise(new("fox", '{"prompt":"calm"}'), **who)),
    "regenerate": (
        S.COMPLETED,
        lambda b, **who: b.store.regenerations.regenerate(
            "fox", new("fox.r2", owner=b.store.jobs.get("fox").owner), **who
        ),
    ),
    "review": (S.COMPLETED, lambda b, **who: b.store.reviews.review("fox", 0, starred=True, **who)),
    "review again": (S.COMPLETED, lambda b, **who: b.store.reviews.review("fox", 0, **who)),
}
OF_BATCHES: dict[str, Callable[..., Any]] = {
    "pause": lambda b, **who: b.store.batches.pause("flock", **who),
    "resume": lambda b, **who: b.store.batches.resume("flock", **who),
    "approve": lambda b, **who: b.store.batches.approve("flock", **who),
    "raise the limit": lambda b, **who: b.store.batches.resume("flock", max_cost=Decimal(9), **who),
    "lower the limit": lambda b, **who: b.store.batches.lower_cap("flock", Decimal("0.5"), **who),
    "cancel": lambda b, **who: b.store.batches.cancel("flock", **who),
    "retry": lambda b, **who: b.store.batches.retry("flock", **who),
    "count a retry": lambda b, **who: b.store.batches.retry("flock", dry_run=True, **who),
}
#: A stranger's name → the owner's.
STRANGERS = [("press", "shop"), ("press", CELERY), (CELERY, "shop"), ("", "shop"), ("shop2", "shop"), ("press", "")]


def made(bench: Bench, owner: str, batch: str, state: State = S.QUEUED) -> None:
    bench.store.jobs.enqueue(
        [new("fox", owner="" if batch else owner)], batch or None, BatchOptions(owner=owner, max_cost=Decimal(1))
    )
    if state is not S.QUEUED:
        bench.put_on(state)


@pytest.mark.parametrize("name", OF_JOBS)
@pytest.mark.parametrize("batch", ["", "flock"], ids=["single", "in a batch"])
@pytest.mark.parametrize(("stranger", "owner"), STRANGERS)
def test_a_stranger_changes_no_job(name: str, batch: str, stranger: str, owner: str, bench: Bench) -> None:
    state, change = OF_JOBS[name]
    made(bench, owner, batch, state)
    if name == "resume":
        bench.store.jobs.pause("fox")
    before = bench.dump()
    with pytest.raises(JobNotFound):
        change(bench, caller=stranger)
    assert bench.dump() == before
    for allowed in (owner, ANYONE):
        bench.start_afresh()
        made(bench, owner, batch, state)
        assert change(bench, caller=allowed)


@pytest.mark.parametrize("name", OF_BATCHES)
@pytest.mark.parametrize(("stranger", "owner"), STRANGERS)
def test_a_stranger_changes_no_batch(name: str, stranger: str, owner: str, bench: Bench) -> None:
    made(bench, owner, "flock")
    before = bench.dump()
    with pytest.raises(BatchNotFound):
        OF_BATCHES[name](bench, caller=stranger)
    assert bench.dump() == before
    assert OF_BATCHES[name](bench, caller=owner)
    bench.start_afresh()
    made(bench, owner, "flock")
    assert OF_BATCHES[name](bench)


@pytest.mark.parametrize("theirs", ["", "flock"], ids=["theirs single", "theirs in a batch"])
@pytest.mark.parametrize("ours", ["", "herd"], ids=["ours single", "ours in a batch"])
@pytest.mark.parametrize(("stranger", "owner"), [pair for pair in STRANGERS if pair[0]])
def test_the_same_request_is_known_to_its_owner_only(
    theirs: str, ours: str, stranger: str, owner: str, bench: Bench
) -> None:
    made(bench, owner, theirs)

    def enqueue(by: str, caller: str = "") -> Outcome:
        job, options = new("fox", owner="" if ours else by), BatchOptions(owner=by)
        return bench.store.jobs.enqueue([job], f"{ours}-of-{by}" if ours else None, options, caller=caller).outcomes[0]

    assert enqueue(stranger) is Outcome.CONFLICT
    assert enqueue(owner) is Outcome.KNOWN
    assert enqueue("boss", caller=ANYONE) is Outcome.KNOWN
    stage = bench.store.uploads.stage
    assert stage("t", [new("fox")], caller=stranger) == (Outcome.CONFLICT,)
    assert stage("t", [new("fox")], caller=owner) == stage("t", [new("fox")]) == (Outcome.KNOWN,)


def test_staged_lines_do_not_join_a_job_that_a_stranger_made_meanwhile(bench: Bench) -> None:
    assert bench.store.uploads.stage("t", [new("fox"), new("hen")], caller="shop") == (Outcome.CREATED,) * 2
    bench.job(owner="press")
    committed = bench.store.uploads.commit("t", "flock", 2, BatchOptions(owner="shop"))
    assert (committed.affected, committed.clashes) == (1, 1)
    assert bench.store.batches.get("flock").accepted == 1


@pytest.mark.parametrize("batch", ["", "flock"], ids=["single", "in a batch"])
@pytest.mark.parametrize("state", [S.QUEUED, S.IN_PROGRESS, S.COMPLETED, S.FAILED, S.CANCELLED])
def test_celery_reaches_its_own_jobs_only(state: State, batch: str, bench: Bench) -> None:
    made(bench, "shop", batch, state)
    before = bench.dump()
    for finishes in ("", "0123456789abcdef"):
        outcome, mark, _ = bench.store.celery.park("fox", "task-1", "{}", finishes)
        assert (outcome, mark) == (ParkOutcome.UNKNOWN, "")
    assert bench.dump() == before
    assert bench.store.celery.revoke(["fox", "task-1"]).cancelled == ()
    assert bench.store.jobs.get("fox").state is state
