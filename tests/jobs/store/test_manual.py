"""A person settles jobs in doubt that cannot be looked up, and repeats deliveries that were given up."""

from datetime import timedelta
from typing import Any

import pytest

from jobs.failures import GIVEN_UP
from jobs.job import Delivery
from jobs.lane_health import Reachability
from jobs.lanes import LaneSettings, pooled
from jobs.policy import RECHECK
from jobs.result import Result
from jobs.states import State
from jobs.store.manual import Verdict
from tests.support.bench import Bench, MakeJob


@pytest.fixture
def in_doubt(bench: Bench) -> Any:
    """A job of two images with a notification: the provider confirmed it, but no look-up finds it."""
    claim = bench.claimed(n=2, owed="n")
    assert bench.store.attempts.mark_in_doubt("fox", claim.fence, "409", exists=True)
    return bench


def settle(bench: Bench, verdict: Verdict, **more: Any) -> str:
    return str(bench.store.manual.settle(bench.store.jobs.get("fox"), verdict, by="alice", **more).outcome)


def test_a_job_settled_as_sent_is_polled_under_the_given_id(in_doubt: Any) -> None:
    bench = in_doubt
    assert settle(bench, Verdict.SENT, task_id="task-7") == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.task_id, job.exists, job.doubt_since) == (State.IN_PROGRESS, "task-7", False, None)
    assert job.reason == "settled by hand by alice: sent as task-7"
    assert (bench.alarm("fox"), bench.slots()) == (0, (2, 0))
    assert job.deadline - job.updated_at == timedelta(seconds=bench.store.context.settings.deadline)
    assert bench.audit() == []


def test_a_job_settled_as_not_sent_is_sent_again_under_the_same_id(in_doubt: Any) -> None:
    bench = in_doubt
    assert settle(bench, Verdict.NOT_SENT) == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.attempt, job.external_task_id, job.exists) == (State.QUEUED, 1, "fox", False)
    assert (bench.alarm("fox"), bench.slots(), bench.ready()) == (RECHECK, (0, 0), ["fox"])
    # The provider's earlier confirmation does not put it in doubt again
    claim = bench.claimed()
    assert (claim.id, claim.attempt) == ("fox", 1)
    assert bench.store.attempts.requeue("fox", claim.fence, "429") == "queued"
    assert bench.audit() == []


def test_a_job_settled_as_failed_is_delivered_and_never_sent_again(in_doubt: Any) -> None:
    bench = in_doubt
    assert settle(bench, Verdict.FAILED) == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.settled_by, job.result.error["code"]) == (State.FAILED, "hand", GIVEN_UP)
    assert (job.owed, bench.alarm("fox"), bench.slots()) == (frozenset({Delivery.NOTIFY}), 0, (0, 0))
    assert bench.store.attempts.admit(10).ids == ()
    # A late callback is only counted
    assert bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback").outcome == "contradicted"
    assert bench.store.statistics.totals().contradicted == 1
    assert bench.audit() == []


def test_a_job_settled_as_failed_counts_in_its_batch(bench: Bench, make: MakeJob) -> None:
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
def test_a_cancelled_job_stays_cancelled(in_doubt: Any, verdict: Verdict, at_provider: State | None) -> None:
    bench = in_doubt
    bench.store.jobs.cancel("fox")
    outcome = settle(bench, verdict, task_id="task-7")
    assert outcome == ("settled" if at_provider else "over")
    job = bench.store.jobs.get("fox")
    assert (job.state, job.at_provider) == (State.CANCELLED, at_provider)
    assert bench.slots() == ((2, 0) if at_provider else (0, 0))
    assert job.owed == {Delivery.NOTIFY}
    assert bench.audit() == []


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_worker_that_is_looking_up_a_settled_job_can_no_longer_change_it(in_doubt: Any, verdict: Verdict) -> None:
    bench = in_doubt
    due = bench.due()
    settle(bench, verdict, task_id="task-7")
    before = bench.dump()
    assert not bench.store.attempts.mark_in_progress("fox", due.job.fence, "another")
    assert bench.store.attempts.requeue("fox", due.job.fence, "absent") == "refused"
    assert not bench.store.attempts.reschedule_lookup(due, 5.0)
    assert bench.store.attempts.finish("fox", State.COMPLETED, Result(), "poll", fence=due.job.fence).outcome == "stale"
    assert bench.dump() == before


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_repeated_verdict_changes_nothing(in_doubt: Any, verdict: Verdict) -> None:
    bench = in_doubt
    job = bench.store.jobs.get("fox")
    bench.store.manual.settle(job, verdict, task_id="task-7")
    before = bench.dump()
    assert bench.store.manual.settle(job, verdict, task_id="task-7").outcome == "other"
    assert bench.dump() == before


def test_a_job_in_progress_without_a_readable_answer_is_settled(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS)
    assert settle(bench, Verdict.SENT, task_id="task-7") == "other"  # until then it is not for a person
    bench.store.attempts.reschedule_lookup(bench.due(), 5.0, reachability=Reachability.UNREADABLE)
    bench.forward(1)
    assert settle(bench, Verdict.NOT_SENT) == "other"  # the provider has accepted it
    assert settle(bench, Verdict.SENT, task_id="task-7") == "settled"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.task_id, job.unreadable_since) == (State.IN_PROGRESS, "task-7", None)
    assert job.updated_at == job.deadline - timedelta(seconds=bench.store.context.settings.deadline)
    assert bench.alarm("fox") == 0
    assert bench.audit() == []


def test_a_verdict_on_one_doubt_does_not_settle_the_next(in_doubt: Any) -> None:
    bench = in_doubt
    job = bench.store.jobs.get("fox")
    bench.store.manual.settle(job, Verdict.NOT_SENT)
    claim = bench.claimed()
    bench.forward(1)
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    before = bench.dump()
    assert bench.store.manual.settle(job, Verdict.FAILED).outcome == "other"
    assert bench.dump() == before


@pytest.mark.parametrize("state", [state for state in State if state is not State.IN_DOUBT], ids=str)
def test_only_a_job_in_doubt_is_settled(bench: Bench, state: State) -> None:
    bench.put(state)
    before = bench.dump()
    assert settle(bench, Verdict.NOT_SENT) == "other"
    assert bench.dump() == before


def test_an_attempt_settled_as_not_sent_stays_in_its_lane(bench: Bench) -> None:
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
def given_up(bench: Bench) -> Any:
    """A bench with a completed job whose notification was given up."""
    bench.put(State.COMPLETED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.give_up(due, Delivery.NOTIFY, "it answered 404") == "clear"
    return bench


def test_a_delivery_that_was_given_up_is_listed_as_stuck(given_up: Any) -> None:
    job = given_up.store.jobs.get("fox")
    assert (job.owed, job.undelivered, job.delivery_error) == (frozenset(), {Delivery.NOTIFY}, "it answered 404")
    assert given_up.alarm("fox") is None
    assert [name for name, _ in given_up.store.manual.stuck(0.0, 10).undelivered.named] == ["fox"]
    assert given_up.audit() == []


def test_a_delivery_that_was_given_up_can_be_started_again(given_up: Any) -> None:
    assert given_up.store.deliveries.retry(["fox", "absent"]) == {"fox": "owed", "absent": "unknown"}
    job = given_up.store.jobs.get("fox")
    assert (job.owed, job.undelivered, job.delivery_tries) == ({Delivery.NOTIFY}, frozenset(), 0)
    assert given_up.alarm("fox") == 0
    assert given_up.store.manual.stuck(0.0, 10).undelivered.count == 0
    assert given_up.audit() == []
    (due,) = given_up.store.attempts.claim_due(10).dues
    assert given_up.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert given_up.store.deliveries.retry(["fox"]) == {"fox": "nothing"}


def test_repeating_a_give_up_or_a_retry_changes_nothing(bench: Bench) -> None:
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
    assert bench.store.jobs.get("fox").owed == set(Delivery)


def test_giving_up_one_kind_of_delivery_leaves_the_other_owed(bench: Bench) -> None:
    bench.put(State.COMPLETED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no") == "owed"
    assert bench.store.jobs.get("fox").owed == {Delivery.CELERY}
    bench.store.deliveries.retry(["fox"])
    assert bench.store.jobs.get("fox").owed == set(Delivery)
    assert bench.audit() == []


def test_a_retried_delivery_does_not_move_the_next_poll(bench: Bench) -> None:
    bench.put(State.EXPIRED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    poll = bench.alarm("fox")
    assert poll
    bench.store.deliveries.retry(["fox"])
    assert bench.alarm("fox") == 0
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.record(due, Delivery.NOTIFY)
    assert bench.alarm("fox") == poll


def test_a_later_result_is_delivered_in_place_of_the_one_given_up(bench: Bench) -> None:
    bench.put(State.EXPIRED, owed="n")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    bench.store.attempts.finish("fox", State.COMPLETED, Result(), "callback")
    job = bench.store.jobs.get("fox")
    assert (job.owed, job.undelivered) == ({Delivery.NOTIFY}, frozenset())
    assert bench.store.manual.stuck(0.0, 10).undelivered.count == 0
    assert bench.audit() == []


def test_a_retry_and_a_purge_remove_the_job_from_the_stuck_ones(bench: Bench) -> None:
    for job_id in ("fox", "hen"):
        bench.put(State.FAILED, job_id, owed="n")
        (due,) = bench.store.deliveries.claim([job_id])
        bench.store.deliveries.give_up(due, Delivery.NOTIFY, "no")
    bench.store.jobs.retry("fox")
    assert [name for name, _ in bench.store.manual.stuck(0.0, 10).undelivered.named] == ["hen"]
    bench.forward(bench.store.context.settings.retention + 1)
    bench.store.jobs.purge()
    assert bench.store.manual.stuck(0.0, 10).undelivered.count == 0
