"""What a person settles: jobs in doubt that nobody can look up, and deliveries that were given up."""

from datetime import timedelta
from typing import Any

import pytest

from jobs.job import Delivery, Result
from jobs.lanes import LaneSettings, pooled
from jobs.policy import RECHECK
from jobs.states import State
from jobs.store.manual import GIVEN_UP, Verdict
from tests.support.bench import Bench, MakeJob


@pytest.fixture
def doubtful(bench: Bench) -> Any:
    """A job of two images, owed to its producer, that the provider said it has and nobody finds."""
    claim = bench.claimed(n=2, owed="n")
    assert bench.store.attempts.mark_in_doubt("fox", claim.fence, "409", exists=True)
    return bench


def settle(bench: Bench, verdict: Verdict, **more: Any) -> str:
    return str(bench.store.manual.settle(bench.store.jobs.get("fox"), verdict, by="alice", **more).outcome)


def test_it_was_sent_and_is_polled_by_the_id_that_is_given(doubtful: Any) -> None:
    bench = doubtful
    assert settle(bench, Verdict.SENT, task_id="task-7") == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.task_id, job.exists, job.doubt_since) == (State.IN_PROGRESS, "task-7", False, None)
    assert job.reason == "settled by hand by alice: sent as task-7"
    assert (bench.alarm("fox"), bench.slots()) == (0, (2, 0))
    assert job.deadline - job.updated_at == timedelta(seconds=bench.store.context.settings.deadline)
    assert bench.audit() == []


def test_it_was_not_sent_and_goes_again_under_the_same_id(doubtful: Any) -> None:
    bench = doubtful
    assert settle(bench, Verdict.NOT_SENT) == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.attempt, job.external_task_id, job.exists) == (State.QUEUED, 1, "fox", False)
    assert (bench.alarm("fox"), bench.slots(), bench.ready()) == (RECHECK, (0, 0), ["fox"])
    # Not again in doubt for what the provider said before
    claim = bench.claimed()
    assert (claim.id, claim.attempt) == ("fox", 1)
    assert bench.store.attempts.requeue("fox", claim.fence, "429") == "queued"
    assert bench.audit() == []


def test_it_is_given_up_and_told_and_never_sent_again(doubtful: Any) -> None:
    bench = doubtful
    assert settle(bench, Verdict.FAILED) == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.settled_by, job.result.error["code"]) == (State.FAILED, "hand", GIVEN_UP)
    assert (job.owing, bench.alarm("fox"), bench.slots()) == (frozenset({Delivery.NOTIFY}), 0, (0, 0))
    assert bench.store.attempts.admit(10).ids == ()
    # What comes after all is only noted
    assert bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback").outcome == "contradicted"
    assert bench.store.statistics.totals().contradicted == 1
    assert bench.audit() == []


def test_a_failure_counts_in_its_batch(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox")], "x")
    claim = bench.claimed()
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    settle(bench, Verdict.FAILED)
    assert bench.store.batches.get("x").errors == {GIVEN_UP: 1}
    assert bench.audit() == []


@pytest.mark.parametrize(
    ("verdict", "at_provider"),
    [(Verdict.SENT, State.IN_PROGRESS), (Verdict.NOT_SENT, None), (Verdict.FAILED, None)],
    ids=str,
)
def test_a_cancelled_one_stays_cancelled(doubtful: Any, verdict: Verdict, at_provider: State | None) -> None:
    bench = doubtful
    bench.store.jobs.cancel("fox")
    word = settle(bench, verdict, task_id="task-7")
    assert word == ("settled" if at_provider else "over")
    job = bench.store.jobs.get("fox")
    assert (job.state, job.at_provider) == (State.CANCELLED, at_provider)
    assert bench.slots() == ((2, 0) if at_provider else (0, 0))
    assert job.owing == {Delivery.NOTIFY}
    assert bench.audit() == []


@pytest.mark.parametrize("verdict", list(Verdict))
def test_who_is_looking_just_now_has_no_say_any_more(doubtful: Any, verdict: Verdict) -> None:
    bench = doubtful
    due = bench.due()
    settle(bench, verdict, task_id="task-7")
    before = bench.dump()
    assert not bench.store.attempts.mark_in_progress("fox", due.job.fence, "another")
    assert bench.store.attempts.requeue("fox", due.job.fence, "absent") == "refused"
    assert not bench.store.attempts.reschedule_lookup(due, 5.0)
    assert bench.store.attempts.finish("fox", State.COMPLETED, Result(), "poll", fence=due.job.fence).outcome == "stale"
    assert bench.dump() == before


@pytest.mark.parametrize("verdict", list(Verdict))
def test_said_twice_it_is_done_once(doubtful: Any, verdict: Verdict) -> None:
    bench = doubtful
    job = bench.store.jobs.get("fox")
    bench.store.manual.settle(job, verdict, task_id="task-7")
    before = bench.dump()
    assert bench.store.manual.settle(job, verdict, task_id="task-7").outcome == "other"
    assert bench.dump() == before


def test_a_word_about_one_doubt_is_none_about_the_next(doubtful: Any) -> None:
    bench = doubtful
    job = bench.store.jobs.get("fox")
    bench.store.manual.settle(job, Verdict.NOT_SENT)
    claim = bench.claimed()
    bench.forward(1)
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    before = bench.dump()
    assert bench.store.manual.settle(job, Verdict.FAILED).outcome == "other"
    assert bench.dump() == before


@pytest.mark.parametrize("state", [state for state in State if state is not State.IN_DOUBT], ids=str)
def test_only_what_is_in_doubt_is_settled(bench: Bench, state: State) -> None:
    bench.put(state)
    before = bench.dump()
    assert settle(bench, Verdict.NOT_SENT) == "other"
    assert bench.dump() == before


def test_an_attempt_that_was_not_sent_stays_with_its_account(bench: Bench) -> None:
    lanes = pooled([LaneSettings(name="a"), LaneSettings(name="b")])
    store = bench.with_settings(named_lanes=lanes)
    bench.job()
    assert store.attempts.admit(1, lanes[0]).ids == ("fox",)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    store.manual.settle(store.jobs.get("fox"), Verdict.NOT_SENT)
    assert store.attempts.admit(1, lanes[1]).ids == ()
    assert store.attempts.admit(1, lanes[0]).ids == ("fox",)


# --- deliveries -------------------------------------------------------------------------------------------------------


@pytest.fixture
def untold(bench: Bench) -> Any:
    """A completed job whose producer was given up."""
    bench.put(State.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.give_up(due, Delivery.NOTIFY, "it answered 404") == "clear"
    return bench


def test_a_delivery_that_is_given_up_is_kept_in_sight(untold: Any) -> None:
    job = untold.store.jobs.get("fox")
    assert (job.owing, job.undelivered, job.delivery_trouble) == (frozenset(), {Delivery.NOTIFY}, "it answered 404")
    assert untold.alarm("fox") is None
    assert [name for name, _ in untold.store.manual.stuck(0.0, 10).undelivered.named] == ["fox"]
    assert untold.audit() == []


def test_it_is_tried_again_from_the_beginning(untold: Any) -> None:
    assert untold.store.deliveries.retry(["fox", "nobody"]) == {"fox": "owed", "nobody": "unknown"}
    job = untold.store.jobs.get("fox")
    assert (job.owing, job.undelivered, job.delivery_tries) == ({Delivery.NOTIFY}, frozenset(), 0)
    assert untold.alarm("fox") == 0
    assert untold.store.manual.stuck(0.0, 10).undelivered.count == 0
    assert untold.audit() == []
    (due,) = untold.store.attempts.claim_due(10).dues
    assert untold.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert untold.store.deliveries.retry(["fox"]) == {"fox": "nothing"}


def test_a_repeat_of_either_changes_nothing(bench: Bench) -> None:
    bench.put(State.COMPLETED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    for kind in Delivery:
        bench.store.deliveries.give_up(due, kind, "no")
        before = bench.dump()
        bench.store.deliveries.give_up(due, kind, "no")
        assert bench.dump() == before
    assert bench.store.jobs.get("fox").undelivered == set(Delivery)
    bench.store.deliveries.retry(["fox"])
    before = bench.dump()
    bench.store.deliveries.retry(["fox"])
    assert bench.dump() == before
    assert bench.store.jobs.get("fox").owing == set(Delivery)


def test_one_kind_given_up_leaves_the_other_owed(bench: Bench) -> None:
    bench.put(State.COMPLETED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no") == "owed"
    assert bench.store.jobs.get("fox").owing == {Delivery.CELERY}
    bench.store.deliveries.retry(["fox"])
    assert bench.store.jobs.get("fox").owing == set(Delivery)
    assert bench.audit() == []


def test_the_look_at_the_provider_stays_where_it_was(bench: Bench) -> None:
    bench.put(State.EXPIRED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    look = bench.alarm("fox")
    assert look
    bench.store.deliveries.retry(["fox"])
    assert bench.alarm("fox") == 0
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.record(due, Delivery.NOTIFY)
    assert bench.alarm("fox") == look


def test_another_end_is_told_in_place_of_the_one_given_up(bench: Bench) -> None:
    bench.put(State.EXPIRED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback")
    job = bench.store.jobs.get("fox")
    assert (job.owing, job.undelivered) == ({Delivery.NOTIFY}, frozenset())
    assert bench.store.manual.stuck(0.0, 10).undelivered.count == 0
    assert bench.audit() == []


def test_a_retry_and_the_end_of_retention_forget_it(bench: Bench) -> None:
    for job_id in ("fox", "hen"):
        bench.put(State.FAILED, job_id, owed="n")
        (due,) = bench.store.deliveries.claim([job_id])
        bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    bench.store.jobs.retry("fox")
    assert [name for name, _ in bench.store.manual.stuck(0.0, 10).undelivered.named] == ["hen"]
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert bench.store.manual.stuck(0.0, 10).undelivered.count == 0
