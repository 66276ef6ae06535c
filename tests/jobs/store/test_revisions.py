"""Corrected requests: the next revision of a job under the same id."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from jobs.errors import JobNotFound, NotAllowed
from jobs.failures import FailureClass
from jobs.fields import VERSION
from jobs.job import Delivery, Priority
from jobs.job_filter import JobFilter
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.result import Result
from jobs.room import Room
from jobs.states import State
from jobs.store.jobs import Jobs
from jobs.store.outcomes.jobs import ReviseOutcome
from tests.support.bench import IMAGES, Bench

Make = Callable[..., NewJob]
REFUSED = Result(error={"code": "1301", "message": "unsafe"}, cost=Decimal("0.002"))
FIXED = '{"model":"kirin_image_omni","params":{"prompt":"a calm fox"}}'


@pytest.fixture
def fixed(make: Make) -> NewJob:
    return make("fox", FIXED)


def refuse(bench: Bench, result: Result = REFUSED, job_id: str = "fox") -> None:
    (claim,) = [each for each in bench.store.attempts.claim(bench.store.attempts.admit(10).ids) if each.id == job_id]
    assert bench.store.attempts.finish(claim.external_task_id, State.FAILED, result, "poll").outcome == "finished"


def test_a_refused_request_is_sent_corrected_under_a_new_id_of_an_attempt(
    bench: Bench, make: Make, fixed: NewJob
) -> None:
    before = make("fox")
    bench.store.jobs.enqueue([before], "b")
    refuse(bench)

    revised = bench.store.revisions.revise(fixed)

    assert (revised.outcome, revised.admit_hint) == (ReviseOutcome.QUEUED, True)
    waiting = bench.store.jobs.get("fox", text=True)
    assert (waiting.state, waiting.revision, waiting.text, waiting.external_task_id) == (
        *(State.QUEUED, 2, FIXED, "fox~2"),
    )
    assert (waiting.result, waiting.cost) == (None, Decimal("0.002"))
    (claim,) = bench.store.attempts.claim(bench.store.attempts.admit(10).ids)
    assert (claim.external_task_id, claim.text) == ("fox~2", FIXED)
    bench.store.attempts.finish("fox~2", State.COMPLETED, Result(output=IMAGES.output, cost=Decimal("0.01")), "poll")
    assert bench.store.jobs.get("fox").cost == bench.store.batches.get("b").cost == Decimal("0.012")
    ((earlier,),) = bench.store.revisions.earlier(["fox"])
    assert (earlier.number, earlier.text, earlier.state, earlier.error) == (1, before.text, State.FAILED, REFUSED.error)
    assert (earlier.failure, earlier.cost, earlier.attempts) == (FailureClass.MODERATION, REFUSED.cost, (1, 1))
    assert earlier.ended_at <= earlier.corrected_at
    assert bench.store.batches.get("b").errors == {}
    assert bench.audit() == []


def test_each_revision_tells_its_own_costs_and_attempts(bench: Bench, make: Make, fixed: NewJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.jobs.retry("fox")
    refuse(bench, replace(REFUSED, cost=Decimal("0.003")))
    bench.store.revisions.revise(fixed)
    refuse(bench, replace(REFUSED, cost=Decimal("0.000000001")))
    bench.store.revisions.revise(make("fox", FIXED.replace("calm", "sleeping")))

    (found,) = bench.store.revisions.earlier(["fox"])

    assert [(each.number, each.attempts, each.cost) for each in found] == [
        (1, (1, 2), Decimal("0.005")),
        (2, (3, 3), Decimal("0.000000001")),
    ]
    assert bench.store.jobs.get("fox").external_task_id == "fox~4"
    assert bench.audit() == []


def test_a_repeat_changes_nothing_whatever_happened_since(bench: Bench, make: Make, fixed: NewJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.revisions.revise(fixed)
    before = bench.dump()
    assert bench.store.revisions.revise(fixed).outcome is ReviseOutcome.SAME
    assert bench.dump() == before
    refuse(bench)
    before = bench.dump()

    assert bench.store.revisions.revise(fixed).outcome is ReviseOutcome.SAME

    assert bench.dump() == before


def test_an_idempotency_key_finds_its_revision_below_later_ones(bench: Bench, make: Make, fixed: NewJob) -> None:
    other = make("fox", FIXED.replace("calm", "red"))
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.revisions.revise(fixed, key="first")
    refuse(bench)
    bench.store.revisions.revise(other, key="second")
    refuse(bench)

    assert bench.store.revisions.revise(fixed, key="first").outcome is ReviseOutcome.SAME
    assert bench.store.revisions.revise(other, key="second").outcome is ReviseOutcome.SAME
    with pytest.raises(NotAllowed, match="another key"):
        bench.store.revisions.revise(make("fox", FIXED.replace("calm", "blue")), key="second")
    assert bench.store.jobs.get("fox").revision == 3


def test_a_plain_enqueue_of_any_revision_is_the_same_job(bench: Bench, make: Make, fixed: NewJob) -> None:
    before = make("fox")
    bench.store.jobs.enqueue([before], "b")
    refuse(bench)
    bench.store.revisions.revise(fixed)
    third = make("fox", FIXED.replace("calm", "third"))

    outcomes = [bench.store.jobs.enqueue([each], "b").outcomes for each in (before, fixed, third)]
    staged = [bench.store.uploads.stage("t", [each])[0] for each in (before, fixed, third)]

    assert outcomes == [(Outcome.KNOWN,), (Outcome.KNOWN,), (Outcome.CONFLICT,)]
    assert staged == [Outcome.KNOWN, Outcome.KNOWN, Outcome.CONFLICT]
    assert bench.store.jobs.get("fox").revision == 2


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State.QUEUED, "has not ended"),
        (State.SUBMITTING, "has not ended"),
        (State.IN_DOUBT, "has not ended"),
        (State.IN_PROGRESS, "has not ended"),
        (State.COMPLETED, "is completed"),
        (State.EXPIRED, "may still be working"),
    ],
)
def test_what_may_be_paid_for_is_not_corrected(state: State, message: str, bench: Bench, fixed: NewJob) -> None:
    bench.put(state)
    before = bench.dump()

    with pytest.raises(NotAllowed, match=message):
        bench.store.revisions.revise(fixed)

    assert bench.dump() == before


def test_a_cancelled_job_with_late_images_is_not_corrected(bench: Bench, fixed: NewJob) -> None:
    bench.put(State.IN_PROGRESS)
    bench.store.jobs.cancel("fox")
    with pytest.raises(NotAllowed, match="may still be working"):
        bench.store.revisions.revise(fixed)
    bench.store.attempts.finish("fox", State.COMPLETED, IMAGES, "poll")

    with pytest.raises(NotAllowed, match="paid for"):
        bench.store.revisions.revise(fixed)


def test_a_cancelled_job_that_was_never_sent_keeps_its_unused_id(bench: Bench, fixed: NewJob) -> None:
    bench.put(State.QUEUED)
    bench.store.jobs.cancel("fox")
    bench.store.revisions.revise(fixed)

    (claim,) = bench.store.attempts.claim(bench.store.attempts.admit(10).ids)

    assert (claim.external_task_id, claim.text) == ("fox", FIXED)


def test_a_job_that_redis_may_have_forgotten_to_have_sent_is_not_corrected(bench: Bench, fixed: NewJob) -> None:
    bench.put(State.QUEUED)
    bench.store.jobs.cancel("fox")
    bench.raw.hset(bench.keys.singleton("epoch"), mapping={"before": bench.now + 10, "number": 7})

    with pytest.raises(NotAllowed, match="Redis lost data"):
        bench.store.revisions.revise(fixed)


def test_limits_and_owners_are_those_of_an_enqueue(bench: Bench, make: Make) -> None:
    store, mine = bench.store, make("fox@shop", owner="shop")
    store.jobs.enqueue([mine])
    refuse(bench, job_id="fox@shop")
    fixed = make("fox@shop", FIXED, owner="shop")
    with pytest.raises(JobNotFound):
        store.revisions.revise(fixed, caller="press")
    with pytest.raises(JobNotFound):
        store.revisions.revise(make("none", FIXED))
    full = store.revisions.revise(fixed, caller="shop", room=Room(owner="shop", own=0))
    assert full.outcome is ReviseOutcome.FULL
    image = make("fox@shop", '{"model":"m","params":{"image":"image:sha256:' + 64 * "a" + '"}}', owner="shop")
    assert store.revisions.revise(image, caller="shop").outcome is ReviseOutcome.IMAGELESS
    assert store.jobs.get("fox@shop").state is State.FAILED
    assert store.revisions.earlier(["fox@shop"]) == [()]

    assert store.revisions.revise(fixed, caller="shop", room=Room(owner="shop", own=1)).outcome is ReviseOutcome.QUEUED
    assert bench.audit() == []


def test_every_fact_of_the_corrected_request_takes_effect(bench: Bench, make: Make) -> None:
    first = make("fox", labels={"a": "1"}, owed="n", priority=Priority.LOW, only_begun=True, expires_in=60)
    bench.store.jobs.enqueue([first], "b", BatchOptions())
    refuse(bench)
    changed = replace(
        make("fox", FIXED, labels={"b": "2"}, n=4), model="other", resolution="2k", pool="p", expires_in=30.0
    )

    bench.store.revisions.revise(changed)

    job = bench.store.jobs.get("fox")
    assert (job.model, job.n, job.resolution, job.pool, job.priority) == ("other", 4, "2k", "p", Priority.NORMAL)
    assert (job.labels, job.expires_at) == (
        {"b": "2"},
        job.updated_at.__class__.fromtimestamp(0, job.updated_at.tzinfo).fromtimestamp(
            bench.now / 1e6 + 30, job.updated_at.tzinfo
        ),
    )
    assert bench.raw.exists(bench.keys.member("labelled", "a=1")) == 0
    assert bench.raw.zrange(bench.keys.member("labelled", "b=2"), 0, -1) == ["fox"]
    assert bench.audit() == []
    bench.forward(31)
    bench.store.attempts.claim_due(10)
    assert bench.store.jobs.get("fox").state is State.EXPIRED
    assert bench.store.jobs.get("fox").owed == frozenset()
    assert Delivery.NOTIFY not in bench.store.jobs.get("fox").owed
    assert bench.audit() == []


def test_a_request_has_a_limited_number_of_revisions(bench: Bench, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.store.revisions.MOST_REVISIONS", 2)
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.revisions.revise(make("fox", FIXED))
    refuse(bench)

    with pytest.raises(NotAllowed, match="revisions already"):
        bench.store.revisions.revise(make("fox", FIXED.replace("calm", "new")))


def test_nothing_is_left_of_a_purged_job(bench: Bench, make: Make, fixed: NewJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.revisions.revise(fixed)
    refuse(bench)
    bench.forward(bench.store.context.settings.retention + 1)

    assert Jobs(bench.store.context).purge() == (1, 0)

    assert bench.store.revisions.earlier(["fox"]) == [()]
    assert bench.raw.hgetall(bench.keys.singleton("stored")) == {}


def test_a_job_whose_images_cannot_be_saved_is_of_the_class_unsaved(bench: Bench) -> None:
    bench.put(State.COMPLETED)
    bench.raw.hset(bench.keys.member("job", "fox"), "Wu", bench.now)

    assert bench.store.jobs.get("fox").failure is FailureClass.UNSAVED
    for classes, found in (([FailureClass.UNSAVED], ["fox"]), ([FailureClass.PROVIDER], [])):
        assert [job.id for job in bench.store.jobs.page(JobFilter(classes=classes)).jobs] == found
        assert [
            job.id for job in bench.store.jobs.page(JobFilter(states=[State.COMPLETED], classes=classes)).jobs
        ] == found
    assert bench.store.jobs.page(JobFilter(states=[State.FAILED], classes=[FailureClass.UNSAVED])).jobs == ()


def test_a_line_costs_the_same_whatever_was_corrected_before(bench: Bench, make: Make) -> None:
    """Otherwise one chunk of an upload stops Redis for all producers for seconds."""
    bench.store.jobs.enqueue([make("fox")])
    for number in range(3):
        refuse(bench)
        bench.store.revisions.revise(make("fox", FIXED.replace("calm", str(number))))
    bench.store.jobs.enqueue([make("hen")])
    lines = [make("fox", FIXED.replace("calm", f"another {number}")) for number in range(40)]
    bench.raw.config_resetstat()

    assert set(bench.store.jobs.enqueue(lines).outcomes) == {Outcome.CONFLICT}

    assert "cmdstat_lrange" not in bench.raw.info("commandstats")


def test_nothing_of_the_revisions_outlives_the_job(bench: Bench, make: Make, fixed: NewJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    refuse(bench)
    bench.store.revisions.revise(fixed)
    bench.store.jobs.cancel("fox")
    bench.forward(400 * 86_400)
    bench.store.jobs.purge()
    assert not bench.raw.keys("*r[vd]:*")


def test_a_sent_job_is_not_corrected_after_redis_lost_data(bench: Bench, fixed: NewJob) -> None:
    """A lost correction may have been sent under the id that this one would get."""
    bench.put(State.FAILED)
    bench.raw.hset(bench.keys.singleton("epoch"), mapping={"before": bench.now + 10, "number": 7})

    with pytest.raises(NotAllowed, match="Redis lost data"):
        bench.store.revisions.revise(fixed)


def test_each_revision_has_all_automatic_attempts(bench: Bench, make: Make) -> None:
    busy = Result(error={"code": "1302", "message": "too fast"})
    bench.store.jobs.enqueue([make("fox")])
    for number in range(3):
        refuse(bench)
        bench.store.revisions.revise(make("fox", FIXED.replace("calm", str(number))))
    outcomes = []
    for _ in range(bench.store.context.settings.max_attempts):
        bench.forward(3600)
        bench.store.attempts.claim_due(10)
        (claim,) = bench.store.attempts.claim(bench.store.attempts.admit(10).ids)
        outcomes.append(bench.store.attempts.finish(claim.external_task_id, State.FAILED, busy, "poll").outcome)
    assert outcomes == ["again", "again", "finished"]
    assert bench.audit() == []


def test_a_corrected_job_of_a_batch_that_waits_for_approval_pauses_it(bench: Bench, make: Make, fixed: NewJob) -> None:
    bench.store.jobs.enqueue([make("fox")], "b", BatchOptions(paused=True))
    bench.store.batches.cancel("b")
    bench.store.revisions.revise(fixed)
    assert bench.store.batches.get("b").paused
    assert bench.audit() == []


def test_a_correction_raises_the_version_of_the_record(bench: Bench, fixed: NewJob) -> None:
    bench.put(State.FAILED)
    bench.raw.hset(bench.keys.member("job", "fox"), "Z", VERSION - 1)
    bench.store.revisions.revise(fixed)
    assert bench.fields("fox")["Z"] == str(VERSION)
