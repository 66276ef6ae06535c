"""The promises of the store, verb by verb, on a real Redis whose clock the test sets."""

import re
import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import redis

from jobs.claims import Due
from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.errors import BatchNotFound, JobNotFound, NotAllowed, RecordDamaged, StoreUnavailable
from jobs.failures import NO_OUTPUT
from jobs.job import Delivery
from jobs.job_filter import JobFilter
from jobs.new_job import Outcome
from jobs.policy import RECHECK
from jobs.result import Result
from jobs.settings import Settings
from jobs.states import FINAL, TRANSITIONS, State
from jobs.store.attempts import PUT_BACK
from jobs.store.lanes import LONGEST_HOLD
from jobs.store.manual import Verdict
from jobs.store.store import Store
from tests.support.bench import IMAGES, Bench, InThread, MakeJob, Priced, new
from tests.support.waiting import WaitFor

AGAIN = Result(error={"code": "002016095", "message": "internal"})
DEAD = Result(error={"code": "1201", "message": "refused"})
NO_RESULT = Result(error={"code": NO_OUTPUT, "message": "no result"})
S = State
Verb = Callable[[Any, Due], Any]


def requeue_job(bench: Bench) -> None:
    """Make a job whose first submission counts as lost."""
    claim = bench.claimed()
    assert bench.store.attempts.requeue("fox", claim.fence, "absent") == "queued"


#: How to cause each transition of the table: (from, to) → a call for a job "fox" in the first state.
TRANSITION_CALLS: dict[tuple[State, State], Callable[[Any], Any]] = {
    (S.QUEUED, S.SUBMITTING): lambda b: b.claimed(),
    (S.QUEUED, S.IN_DOUBT): lambda b: b.store.attempts.record_callback("fox", needs_lookup=True),
    (S.QUEUED, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "callback"),
    (S.QUEUED, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, DEAD, "callback"),
    (S.QUEUED, S.CANCELLED): lambda b: b.store.jobs.cancel("fox"),
    (S.QUEUED, S.QUEUED): lambda b: b.store.attempts.finish("fox", S.FAILED, AGAIN, "callback"),
    (S.QUEUED, S.EXPIRED): lambda b: (b.forward(b.alarm("fox")), b.store.attempts.claim_due(10)),
    (S.SUBMITTING, S.QUEUED): lambda b: b.store.attempts.requeue("fox", fence(b), "429"),
    (S.SUBMITTING, S.IN_DOUBT): lambda b: b.store.attempts.mark_in_doubt("fox", fence(b), "read timed out"),
    (S.SUBMITTING, S.IN_PROGRESS): lambda b: b.store.attempts.mark_in_progress("fox", fence(b), "t"),
    (S.SUBMITTING, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "callback"),
    (S.SUBMITTING, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=fence(b)),
    (S.SUBMITTING, S.CANCELLED): lambda b: b.store.jobs.cancel("fox"),
    (S.IN_DOUBT, S.QUEUED): lambda b: b.store.attempts.requeue("fox", fence(b), "absent"),
    (S.IN_DOUBT, S.IN_PROGRESS): lambda b: b.store.attempts.mark_in_progress("fox", fence(b), "t"),
    (S.IN_DOUBT, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "poll", fence=fence(b)),
    (S.IN_DOUBT, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, DEAD, "callback"),
    (S.IN_DOUBT, S.CANCELLED): lambda b: b.store.jobs.cancel("fox"),
    (S.IN_PROGRESS, S.QUEUED): lambda b: b.store.attempts.finish("fox", S.FAILED, AGAIN, "poll"),
    (S.IN_PROGRESS, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "callback"),
    (S.IN_PROGRESS, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, DEAD, "poll"),
    (S.IN_PROGRESS, S.CANCELLED): lambda b: b.store.jobs.cancel("fox"),
    (S.IN_PROGRESS, S.EXPIRED): lambda b: b.store.attempts.expire(b.due(), 30.0),
    (S.FAILED, S.COMPLETED): lambda b: (
        b.store.jobs.retry("fox"),
        b.claimed(),
        b.store.attempts.finish("fox~2", S.FAILED, NO_RESULT, "poll"),
        b.store.attempts.finish("fox~2", S.COMPLETED, IMAGES, "callback"),
    ),
    (S.FAILED, S.QUEUED): lambda b: b.store.jobs.retry("fox"),
    (S.CANCELLED, S.QUEUED): lambda b: b.store.jobs.retry("fox"),
    (S.EXPIRED, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "poll"),
    (S.EXPIRED, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, AGAIN, "callback"),
    (S.EXPIRED, S.QUEUED): lambda b: (b.let_go(), b.store.jobs.retry("fox")),
}


def fence(bench: Bench) -> int:
    return bench.store.jobs.get("fox").fence


def test_every_transition_of_the_table_has_a_call() -> None:
    assert set(TRANSITION_CALLS) == {
        (before, after) for before, following in TRANSITIONS.items() for after in following
    }


@pytest.mark.parametrize(("before", "after"), TRANSITION_CALLS, ids=lambda state: state.value)
def test_a_transition_of_the_table_is_made(bench: Bench, before: State, after: State) -> None:
    if (before, after) == (S.QUEUED, S.EXPIRED):
        bench.job(expires_in=60)
    elif before is S.QUEUED and after not in (S.SUBMITTING, S.CANCELLED):
        requeue_job(bench)
    elif before is S.CANCELLED:
        bench.job()
        bench.store.jobs.cancel("fox")
    else:
        bench.put(before)
    TRANSITION_CALLS[before, after](bench)
    assert bench.store.jobs.get("fox").state is after
    assert bench.audit() == []


#: What the worker that holds a claim, or any caller, may call; `due` is the claim.
VERBS: dict[str, Verb] = {
    "claim": lambda b, _due: b.store.attempts.claim(["fox"]),
    "mark_in_progress": lambda b, due: b.store.attempts.mark_in_progress("fox", due.job.fence, "t9"),
    "mark_in_doubt": lambda b, due: b.store.attempts.mark_in_doubt("fox", due.job.fence, "why"),
    "requeue": lambda b, due: b.store.attempts.requeue("fox", due.job.fence, "why"),
    "reschedule_lookup": lambda b, due: b.store.attempts.reschedule_lookup(due, 5.0),
    "expire": lambda b, due: b.store.attempts.expire(due, 5.0),
    "completed": lambda b, _due: b.store.attempts.finish("fox", S.COMPLETED, Result(cost=Decimal(1)), "callback"),
    "failed": lambda b, _due: b.store.attempts.finish("fox", S.FAILED, DEAD, "callback"),
    "record_callback": lambda b, _due: b.store.attempts.record_callback("fox", needs_lookup=True),
    "cancel": lambda b, _due: b.store.jobs.cancel("fox"),
    "retry": lambda b, _due: b.store.jobs.retry("fox"),
    "revise": lambda b, _due: b.store.revisions.revise(new("fox", "{}")),
    "regenerate": lambda b, _due: b.store.regenerations.regenerate("fox", new("fox.r2")),
    "review": lambda b, _due: b.store.reviews.review("fox", 0, starred=True),
    "pause": lambda b, _due: b.store.jobs.pause("fox"),
    "delivered": lambda b, due: b.store.deliveries.record(due, "n"),
    "undelivered": lambda b, due: b.store.deliveries.give_up(due, "n", "no"),
    "redeliver": lambda b, _due: b.store.deliveries.retry(["fox"]),
    "sent": lambda b, due: b.store.manual.settle(due.job, Verdict.SENT, task_id="t9"),
    "not sent": lambda b, due: b.store.manual.settle(due.job, Verdict.NOT_SENT),
    "given up": lambda b, due: b.store.manual.settle(due.job, Verdict.FAILED),
}
#: The states in which each verb has an effect; in all others the whole store stays unchanged. (A cancelled or expired
#: job is still at the provider here, so its result is recorded.)
EFFECTIVE: dict[str, set[State]] = {
    "claim": set(),  # nothing is admitted here
    "mark_in_progress": {S.SUBMITTING, S.IN_DOUBT, S.CANCELLED},
    "mark_in_doubt": {S.SUBMITTING, S.CANCELLED},
    "requeue": {S.SUBMITTING, S.IN_DOUBT, S.CANCELLED},
    "reschedule_lookup": {S.IN_DOUBT, S.IN_PROGRESS, S.EXPIRED},
    "expire": {S.IN_PROGRESS, S.EXPIRED},
    "completed": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "failed": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "record_callback": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "cancel": {S.QUEUED, S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS},
    "retry": {S.FAILED},
    "revise": {S.FAILED},
    "regenerate": {S.COMPLETED},
    "review": {S.COMPLETED},
    "pause": {S.QUEUED},
    "delivered": set(),  # nothing is owed here
    "undelivered": set(),
    "redeliver": set(),
    "sent": {S.IN_DOUBT},
    "not sent": {S.IN_DOUBT},
    "given up": {S.IN_DOUBT},
}


def run(bench: Bench, verb: str, held: Due) -> None:
    try:
        VERBS[verb](bench, held)
    except NotAllowed:
        assert verb in ("cancel", "retry", "revise", "regenerate", "review", "pause")


def stored(bench: Bench) -> dict[str, Any]:
    """Return everything that is stored, without the number of contradictions, which counts messages."""
    dump = bench.dump()
    dump.get("totals", {}).pop("contradicted", None)
    return dump


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_a_verb_acts_once_and_only_in_its_states(bench: Bench, state: State, verb: str) -> None:
    bench.put(state)
    before, held = stored(bench), bench.holding(fence(bench))
    run(bench, verb, held)
    once = stored(bench)
    assert (once != before) == (state in EFFECTIVE[verb])
    assert bench.audit() == []
    # The same call again, as after a lost reply, changes nothing more.
    run(bench, verb, held)
    assert stored(bench) == once


@pytest.mark.parametrize("verb", ["mark_in_progress", "mark_in_doubt", "requeue", "reschedule_lookup", "expire"])
@pytest.mark.parametrize("state", [S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS], ids=lambda state: state.value)
def test_an_older_fence_is_refused(bench: Bench, state: State, verb: str) -> None:
    bench.put(state)
    old = fence(bench)
    held = bench.holding(old)
    bench.due()
    before = bench.dump()
    run(bench, verb, held)
    assert bench.store.attempts.finish("fox", S.FAILED, DEAD, "poll", fence=old).outcome == "stale"
    assert bench.dump() == before


@pytest.mark.parametrize("verb", list(VERBS)[1:])
def test_a_verb_for_an_unknown_job_changes_nothing(bench: Bench, verb: str) -> None:
    before = bench.dump()
    try:
        VERBS[verb](bench, bench.holding(0))
    except JobNotFound:
        assert verb in ("cancel", "retry", "revise", "regenerate", "review", "pause")
    assert bench.dump() == before


# --- enqueueing -------------------------------------------------------------------------------------------------------


def test_a_repeated_id_is_the_same_job_or_a_conflict(bench: Bench, make: MakeJob) -> None:
    given = [make("fox"), make("hen", n=3), make("fox"), make("fox", "other")]
    assert bench.store.jobs.enqueue(given).outcomes == (
        Outcome.CREATED,
        Outcome.CREATED,
        Outcome.KNOWN,
        Outcome.CONFLICT,
    )
    before = bench.dump()
    assert bench.store.jobs.enqueue(given).outcomes == (Outcome.KNOWN, Outcome.KNOWN, Outcome.KNOWN, Outcome.CONFLICT)
    assert bench.dump() == before
    assert bench.store.jobs.get("hen", text=True).text == make().text


@pytest.mark.parametrize("job_id", ["a", "A.b:c_d-e", "9" * 128, "with.many.dots", "s:queued", "alarms"])
def test_an_id_may_look_like_a_key(bench: Bench, job_id: str) -> None:
    bench.put(S.COMPLETED, job_id)
    assert bench.store.jobs.get(job_id).id == job_id
    assert bench.audit() == []


def test_enqueue_is_all_or_nothing(bench: Bench, make: MakeJob) -> None:
    before = bench.dump()
    with pytest.raises(redis.ResponseError, match="arguments"):
        bench.store.context.scripts.call("enqueue", "", "{}", 1, "", "", "fox", "text", "{}", "hen")
    bench.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
            bench.store.jobs.enqueue([make("fox"), make("hen")], "x")
    finally:
        bench.raw.config_set("maxmemory", 0)
    assert bench.dump() == before


def test_a_batch_counts_only_the_jobs_that_it_created(bench: Bench, make: MakeJob, priced: Priced) -> None:
    bench.store.jobs.enqueue([make("known")])
    outcomes = bench.store.jobs.enqueue([make("z"), make("known"), make("a"), make("z", "other")], "x").outcomes
    assert outcomes == (Outcome.CREATED, Outcome.KNOWN, Outcome.CREATED, Outcome.CONFLICT)
    bench.store.jobs.enqueue([make("m")], "x")
    bench.claimed("a")
    bench.store.attempts.finish("a", S.COMPLETED, priced("0.0000000015"), "callback")
    batch = bench.store.batches.get("x")
    assert [job.id for job in bench.store.batches.jobs("x")] == ["z", "a", "m"]
    assert (batch.accepted, batch.counts[S.QUEUED], batch.counts[S.COMPLETED], batch.done) == (3, 2, 1, False)
    assert batch.cost == Decimal("0.000000002")  # counted in nano-dollars, half even
    assert bench.audit() == []


def test_a_batch_of_known_jobs_is_empty_and_done(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    bench.store.jobs.enqueue([make("fox")], "x")
    assert (bench.store.batches.get("x").accepted, bench.store.batches.get("x").done) == (0, True)
    with pytest.raises(BatchNotFound):
        bench.store.batches.get("y")


# --- admission and claims ---------------------------------------------------------------------------------------------


def test_slots_count_images_and_are_never_exceeded(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(max_in_flight=4)
    store.jobs.enqueue([make("a", n=3), make("b", n=2), make("c", n=1)])
    assert store.attempts.admit(10).ids == ("a",)  # b does not fit, and no job overtakes it
    assert bench.slots() == (0, 3)
    (claim,) = store.attempts.claim(["a", "a", "b"])
    assert bench.slots() == (3, 0)
    store.jobs.cancel("a")
    assert bench.slots() == (3, 0)  # the provider may still run it
    assert store.attempts.requeue("a", claim.fence, "429") == "over"
    assert store.attempts.admit(10).ids == ("b", "c")


def test_a_job_with_more_images_than_slots_runs_alone(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(max_in_flight=2)
    store.jobs.enqueue([make("a"), make("big", n=9), make("b")])
    assert store.attempts.admit(10).ids == ("a",)
    (claim,) = store.attempts.claim(["a"])
    assert store.attempts.admit(10).ids == ()
    store.attempts.mark_in_progress("a", claim.fence, "t")
    store.attempts.finish("a", S.COMPLETED, Result(), "callback")
    assert store.attempts.admit(10).ids == ("big",)
    assert store.attempts.admit(10).ids == ()


def test_the_submission_rate_holds_after_a_burst_of_a_second(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(submit_rate=2.0)
    store.jobs.enqueue([make(f"j{number:02}") for number in range(20)])
    assert len(store.attempts.admit(20).ids) == 3
    for _ in range(6):
        bench.forward(0.5)
        assert len(store.attempts.admit(20).ids) == 1


def test_admission_reports_that_more_jobs_may_go(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    assert bench.store.attempts.admit(2).more
    assert not bench.store.attempts.admit(2).more


def test_a_job_whose_message_was_lost_is_queued_again(bench: Bench) -> None:
    bench.job()
    assert bench.alarm("fox") == RECHECK
    assert bench.store.attempts.admit(1).ids == ("fox",)
    assert (bench.ready(), bench.alarm("fox"), bench.slots()) == ([], PUT_BACK, (0, 1))
    bench.forward(PUT_BACK)
    claimed = bench.store.attempts.claim_due(10)
    assert (claimed.dues, claimed.due_count, claimed.admit_hint) == ((), 1, True)
    assert (bench.ready(), bench.slots()) == (["fox"], (0, 0))
    assert bench.store.attempts.claim(["fox"]) == []  # the message was only late
    assert bench.store.attempts.admit(1).ids == ("fox",)


def test_a_job_whose_worker_died_is_in_doubt_after_its_lease(bench: Bench) -> None:
    claim = bench.claimed()
    assert bench.alarm("fox") == 60
    due = bench.due()
    assert (due.job.state, due.job.fence, due.overdue) == (S.IN_DOUBT, claim.fence + 1, False)
    assert not bench.store.attempts.mark_in_progress("fox", claim.fence, "t")


def test_a_hint_is_requested_only_while_none_is_under_way(bench: Bench, make: MakeJob) -> None:
    assert bench.store.jobs.enqueue([make("a")]).admit_hint
    assert not bench.store.jobs.enqueue([make("b")]).admit_hint
    (claim,) = (bench.store.attempts.admit(1), bench.store.attempts.claim(["a"]))[1]
    assert bench.store.jobs.enqueue([make("c")]).admit_hint
    bench.store.attempts.mark_in_progress("a", claim.fence, "t")
    assert bench.store.attempts.record_callback("a", needs_lookup=True).admit_hint
    assert not bench.store.attempts.record_callback("a", needs_lookup=True).admit_hint
    bench.store.attempts.claim_due(10)
    assert bench.store.attempts.record_callback("a", needs_lookup=True).admit_hint


# --- holds ------------------------------------------------------------------------------------------------------------


def hold(bench: Bench, least: float = 0.0, reason: str = "429") -> float:
    """Hold the lane. Return for how many seconds."""
    return bench.store.lanes.hold(reason, base=8.0, cap=20.0, least=least) - bench.now / 1e6


def test_holds_double_up_to_a_cap_and_then_one_job_goes_first(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    for floor, cap in ((4, 8), (8, 16), (10, 20), (10, 20)):
        wait = hold(bench)
        assert floor <= round(wait, 3) <= cap
        assert bench.store.attempts.admit(5).ids == ()
        bench.forward(wait + 0.001)
        (first,) = bench.store.attempts.admit(5).ids
        assert bench.store.attempts.admit(5).ids == ()
        (claim,) = bench.store.attempts.claim([first])
        assert bench.store.attempts.admit(5).ids == ()
        bench.store.attempts.requeue(first, claim.fence, "429")
    (first,) = bench.store.attempts.admit(5).ids
    (claim,) = bench.store.attempts.claim([first])
    bench.store.attempts.mark_in_progress(first, claim.fence, "t")
    assert len(bench.store.attempts.admit(5).ids) == 2
    assert bench.lane().keys() & {"level", "why", "since"} == set()


def test_a_callback_before_the_answer_ends_the_hold_too(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    bench.forward(hold(bench) + 0.001)
    (first,) = bench.store.attempts.admit(5).ids
    bench.store.attempts.claim([first])
    bench.store.attempts.finish(first, S.COMPLETED, Result(), "callback")
    assert len(bench.store.attempts.admit(5).ids) == 2


def test_an_older_answer_does_not_end_a_hold(bench: Bench) -> None:
    claim = bench.claimed()
    hold(bench, reason="402 no balance")
    assert bench.store.attempts.mark_in_progress("fox", claim.fence, "t")
    assert (bench.lane()["why"], bench.lane()["level"]) == ("402 no balance", "1")


def test_a_claim_during_a_hold_returns_the_job_to_its_queue(bench: Bench) -> None:
    bench.job()
    bench.store.attempts.admit(1)
    hold(bench)
    assert bench.store.attempts.claim(["fox"]) == []
    assert (bench.ready(), bench.slots()) == (["fox"], (0, 0))


def test_retry_after_extends_a_hold_up_to_a_limit(bench: Bench) -> None:
    since = bench.now
    hold(bench)
    assert hold(bench) < 9  # answers of the same moment count once
    bench.forward(1)
    assert round(hold(bench, 100.0), 3) == 100
    assert hold(bench, 1e18) <= LONGEST_HOLD
    assert bench.lane()["since"] == str(since)


def test_a_held_lane_has_a_reason_and_an_end(store: Store) -> None:
    assert not store.lanes.get().held
    store.lanes.hold("402 no balance", base=60.0, cap=60.0)
    lane = store.lanes.get()
    assert (lane.held, lane.reason) == (True, "402 no balance")
    assert lane.held_since is not None
    assert lane.held_until is not None
    assert lane.held_since < lane.held_until


# --- results ----------------------------------------------------------------------------------------------------------


def test_the_first_result_counts(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.01"), "callback").outcome == "finished"
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.02"), "poll").outcome == "already"
    assert bench.store.attempts.finish("fox", S.FAILED, DEAD, "poll").outcome == "contradicted"
    job, totals = bench.store.jobs.get("fox"), bench.store.statistics.totals()
    assert (job.settled_by, job.result.cost, totals.cost, totals.contradicted) == (
        "callback", Decimal("0.01"), Decimal("0.01"), 1,
    )  # fmt: skip


def test_a_transient_failure_is_a_new_attempt_up_to_the_limit(bench: Bench) -> None:
    for attempt, outcome in ((1, "again"), (2, "again"), (3, "finished")):
        if attempt > 1:
            bench.forward(300)
            bench.store.attempts.claim_due(10)
        claim = bench.claimed()
        external = "fox" if attempt == 1 else f"fox~{attempt}"
        assert claim.external_task_id == external
        bench.store.attempts.mark_in_progress("fox", claim.fence, "t")
        assert bench.store.attempts.finish(external, S.FAILED, AGAIN, "poll").outcome == outcome
        if outcome == "again":
            assert bench.store.attempts.finish(external, S.COMPLETED, Result(), "callback").outcome == "stale"
            assert (
                bench.store.attempts.finish(f"fox~{attempt + 1}", S.COMPLETED, Result(), "callback").outcome
                == "unknown"
            )
    assert bench.store.jobs.get("fox").state is S.FAILED


@pytest.mark.parametrize("external", ["", "~2", "fox~1", "fox~02", "fox~", "fox~2~3", "absent"])
def test_a_result_for_an_unknown_id_changes_nothing(bench: Bench, external: str) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish(external, S.COMPLETED, Result(), "callback").outcome == "unknown"
    assert bench.store.attempts.record_callback(external, needs_lookup=True).outcome == "unknown"


@pytest.mark.parametrize(("state", "after"), [(S.CANCELLED, S.CANCELLED), (S.EXPIRED, S.COMPLETED)])
def test_a_late_result_is_stored_and_its_cost_counted(bench: Bench, priced: Priced, state: State, after: State) -> None:
    bench.put(state)
    assert bench.slots()[0] == 1
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.5"), "callback").outcome == "finished"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.result.cost, job.at_provider) == (after, Decimal("0.5"), None)
    assert (bench.slots(), bench.alarm("fox"), bench.store.lanes.get().cost) == ((0, 0), None, Decimal("0.5"))


def test_a_job_with_an_absurd_cost_ends_and_the_cost_is_not_counted(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("1e12"), "callback").outcome == "finished"
    assert bench.store.lanes.get().cost == 0


def test_an_attempt_can_only_complete_or_fail(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    before = bench.dump()
    with pytest.raises(redis.ResponseError, match="completed or failed"):
        bench.store.attempts.finish("fox", S.EXPIRED, priced("1"), "poll")
    assert bench.dump() == before


def test_a_callback_during_a_look_up_causes_another_one(bench: Bench) -> None:
    bench.put(S.IN_PROGRESS)
    due = bench.due()
    bench.store.attempts.record_callback("fox", needs_lookup=True)
    assert bench.store.attempts.reschedule_lookup(due, 30.0)
    assert bench.alarm("fox") == 0


def test_a_job_that_a_callback_proved_is_not_sent_again(bench: Bench) -> None:
    # Given a submission whose look-ups find nothing yet
    bench.put(S.IN_DOUBT)
    due = bench.due()
    # When a callback comes while the last of them is under way
    bench.store.attempts.record_callback("fox", needs_lookup=False)
    # Then the job is not queued again, but looked up at once
    assert bench.store.attempts.requeue("fox", due.job.fence, "absent") == "doubt"
    assert (bench.store.jobs.get("fox").state, bench.alarm("fox")) == (S.IN_DOUBT, 0)


def test_the_proof_by_a_callback_outlasts_the_answer(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.record_callback("fox", needs_lookup=False)
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    assert bench.store.jobs.get("fox").exists
    bench.put(S.SUBMITTING, "hen")
    bench.store.attempts.record_callback("hen", needs_lookup=False)
    assert bench.store.attempts.requeue("hen", 1, "429") == "doubt"
    assert bench.store.jobs.get("hen").state is S.IN_DOUBT


def test_an_expired_job_is_watched_for_one_more_deadline(bench: Bench) -> None:
    bench.put(S.EXPIRED)
    bench.forward(7200)
    due = bench.due()
    assert due.overdue
    assert bench.store.attempts.expire(due, 30.0).outcome == "over"
    assert (bench.slots(), bench.alarm("fox")) == ((0, 0), None)


# --- deliveries -------------------------------------------------------------------------------------------------------


def test_a_delivery_is_owed_until_it_is_recorded(bench: Bench) -> None:
    claim = bench.claimed(owed="nc")
    finished = bench.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=claim.fence)
    assert finished.owed
    (due,) = bench.store.deliveries.claim(["fox", "absent"])
    assert due.job.owed == {Delivery.NOTIFY, Delivery.CELERY}
    assert due.job.result == DEAD
    for _ in range(2):  # once more, as after a lost reply
        assert bench.store.deliveries.record(due, Delivery.NOTIFY, retry_in=7.0) == "owed"
    assert (bench.alarm("fox"), bench.store.jobs.get("fox").delivery_tries) == (7, 1)
    for _ in range(2):
        assert bench.store.deliveries.record(due, Delivery.CELERY) == "owed"
    assert bench.alarm("fox") == 7  # the notification's next attempt keeps its time
    assert bench.store.deliveries.record(bench.due(), Delivery.NOTIFY) == "clear"
    assert (bench.alarm("fox"), bench.fields("fox").keys() & set("ghiz")) == (None, set())


@pytest.mark.parametrize("state", [S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS], ids=lambda state: state.value)
def test_delivering_a_cancellation_does_not_disturb_the_lease_or_polls(bench: Bench, state: State) -> None:
    # Given a cancelled job at the provider, with a notification to deliver
    bench.put(state, owed="n")
    poll, held = bench.alarm("fox"), fence(bench)
    bench.store.jobs.cancel("fox")
    # When the notification fails and has a long wait
    dues = bench.store.attempts.claim_due(10).dues
    (due,) = bench.store.deliveries.claim(["fox"])
    assert [each.job.owed for each in dues] == [{Delivery.NOTIFY}] * (1 if state is not S.IN_DOUBT else len(dues))
    bench.store.deliveries.record(due, Delivery.NOTIFY, retry_in=3600.0)
    # Then the end of the lease, or the next poll, is unchanged, and the holder of the claim may still record its answer
    assert (bench.store.jobs.get("fox").at_provider, fence(bench)) == (state, held)
    assert bench.alarm("fox") == poll
    if state is S.SUBMITTING:
        assert bench.store.attempts.mark_in_progress("fox", held, "t")
        assert bench.alarm("fox") == 5
    # And polls continue between the delivery attempts
    due = bench.due()
    assert due.job.owed == frozenset()
    assert due.job.at_provider in (S.IN_DOUBT, S.IN_PROGRESS)
    bench.store.attempts.reschedule_lookup(due, 10_000.0)
    assert bench.due().job.owed == {Delivery.NOTIFY}


def test_the_last_delivery_does_not_move_the_end_of_the_lease(bench: Bench) -> None:
    bench.put(S.SUBMITTING, owed="n")
    bench.store.jobs.cancel("fox")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert bench.alarm("fox") == 60
    assert bench.due().job.at_provider is S.IN_DOUBT


def test_a_late_result_is_delivered_although_the_expiry_is_being_delivered(bench: Bench) -> None:
    bench.put(S.EXPIRED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback").owed
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "refused"
    # The Celery message, which is not finished yet, is still owed
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY, Delivery.CELERY}


def test_a_celery_message_is_not_finished_twice(bench: Bench) -> None:
    bench.put(S.EXPIRED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.record(due, Delivery.CELERY)
    bench.store.deliveries.record(due, Delivery.NOTIFY)
    bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback")
    assert bench.store.jobs.get("fox").owed == {Delivery.NOTIFY}


# --- requests by producers --------------------------------------------------------------------------------------------


def test_a_retry_begins_a_new_attempt_only_if_the_last_one_was_sent(bench: Bench) -> None:
    bench.job()
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.retry("fox").outcome == "queued"
    assert bench.claimed().external_task_id == "fox"
    bench.store.attempts.finish("fox", S.FAILED, DEAD, "callback")
    bench.store.jobs.retry("fox")
    job = bench.store.jobs.get("fox")
    assert (job.external_task_id, job.result, job.ended_at, job.reason) == ("fox~2", None, None, None)
    assert bench.store.jobs.retry("fox").outcome == "already"


@pytest.mark.parametrize("state", [S.CANCELLED, S.EXPIRED], ids=lambda state: state.value)
def test_a_job_that_may_be_at_the_provider_is_not_retried(bench: Bench, state: State) -> None:
    bench.put(state)
    with pytest.raises(NotAllowed, match="paid twice"):
        bench.store.jobs.retry("fox")


def test_a_cancelled_job_with_a_late_paid_result_is_not_retried(bench: Bench) -> None:
    result = Result(output=({"type": "image", "url": "u"},))
    bench.put(S.CANCELLED)
    bench.store.attempts.finish("fox", S.COMPLETED, result, "poll")
    with pytest.raises(NotAllowed, match="paid for"):
        bench.store.jobs.retry("fox")
    job = bench.store.jobs.get("fox")
    assert (job.state, job.result) == (S.CANCELLED, result)


def test_a_completed_or_unknown_job_is_neither_cancelled_nor_retried(bench: Bench) -> None:
    bench.put(S.COMPLETED)
    with pytest.raises(NotAllowed, match="completed"):
        bench.store.jobs.cancel("fox")
    with pytest.raises(NotAllowed, match="regenerate"):
        bench.store.jobs.retry("fox")
    for verb in (bench.store.jobs.cancel, bench.store.jobs.retry, bench.store.jobs.get):
        with pytest.raises(JobNotFound):
            verb("absent")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_pages_are_complete_while_jobs_change(bench: Bench, make: MakeJob) -> None:
    names = [f"j{number}" for number in range(7)]
    bench.store.jobs.enqueue([make(name) for name in names], "x")
    first = bench.store.jobs.page(limit=3)
    bench.claimed("j3")
    bench.store.jobs.cancel("j2")
    bench.store.jobs.enqueue([make("new")])
    second = bench.store.jobs.page(cursor=first.cursor, limit=3)
    third = bench.store.jobs.page(cursor=second.cursor, limit=3)
    assert [job.id for page in (first, second, third) for job in page.jobs] == names[::-1]
    assert third.cursor is None
    assert [job.id for job in bench.store.jobs.page(JobFilter(states=[S.CANCELLED])).jobs] == ["j2"]
    part = bench.store.jobs.page(JobFilter(batch="x", states=[S.QUEUED]), limit=2)
    rest = bench.store.jobs.page(JobFilter(batch="x", states=[S.QUEUED]), cursor=part.cursor, limit=9)
    assert [job.id for job in (*part.jobs, *rest.jobs)] == ["j0", "j1", "j4", "j5", "j6"]


def test_changes_are_read_once(bench: Bench) -> None:
    bench.put(S.CANCELLED)
    assert [(each.before, each.state) for each in bench.store.events.read_new(10)] == [
        (None, S.QUEUED), (S.QUEUED, S.SUBMITTING), (S.SUBMITTING, S.CANCELLED),
    ]  # fmt: skip
    assert bench.store.events.read_new(10) == []


@pytest.mark.parametrize("missed", [False, True], ids=["published", "message missed"])
def test_wait_ends_with_the_job(bench: Bench, in_thread: InThread, wait_for: WaitFor, missed: bool) -> None:
    bench.put(S.IN_PROGRESS)
    waiting = in_thread(lambda: bench.store.jobs.wait("fox", 20.0))
    channel = bench.keys.member("ended", "fox")
    wait_for(lambda: bench.raw.pubsub_numsub(channel)[0][1] == 1)
    if missed:  # as if the connection was lost when the end was published
        bench.raw.hset(bench.keys.member("job", "fox"), mapping={"s": "completed", "e": bench.now})
    else:
        bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback")
    assert waiting(timeout=10).state is S.COMPLETED


def test_wait_ends_after_its_time(bench: Bench) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.jobs.wait("fox", 0.05).state is S.IN_PROGRESS
    with pytest.raises(JobNotFound):
        bench.store.jobs.wait("absent", 0.0)


# --- retention --------------------------------------------------------------------------------------------------------


def test_purge_removes_jobs_and_batches_after_the_retention(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(retention=100)
    store.jobs.enqueue([make("old"), make("owing", owed="n"), make("live"), make("late")], "x")
    for job_id in ("old", "owing"):
        store.jobs.cancel(job_id)
    bench.forward(101)
    store.jobs.cancel("late")
    assert store.jobs.purge() == (1, 0)
    assert store.jobs.get_many(["old"]) == [None]
    assert bench.audit() == []
    (due,) = store.deliveries.claim(["owing"])
    store.deliveries.record(due, "n")
    bench.forward(101)
    assert store.jobs.purge() == (2, 0)  # the batch still has an unfinished job
    store.jobs.cancel("live")
    assert store.batches.get("x").done
    bench.forward(101)
    assert store.jobs.purge() == (1, 1)
    assert store.jobs.purge() == (0, 0)
    # The history of ends is the service's, and has bounds of its own.
    kept = {each for each in bench.dump() if not each.startswith(("ended-", "hm:"))}
    assert kept == {"changes", "epoch", "p:", "pools", "totals"}


# --- Redis is unavailable ---------------------------------------------------------------------------------------------


def test_scripts_are_loaded_again_after_a_flush(bench: Bench) -> None:
    bench.job()
    bench.raw.script_flush()
    assert bench.store.attempts.admit(1).ids == ("fox",)
    bench.raw.script_flush()
    assert bench.store.attempts.mark_many_in_progress([("fox", 1, "t"), ("hen", 1, "t")]) == [False, False]


def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.ping(),
        lambda s: s.jobs.get("fox"),
        lambda s: s.jobs.wait("fox", 1),
        lambda s: s.jobs.page(),
        lambda s: s.batches.get("x"),
        lambda s: s.lanes.get(),
        lambda s: s.celery.get_parked("fox"),
        lambda s: s.events.read_new(1),
        lambda s: s.jobs.cancel("fox"),
        lambda s: s.attempts.claim_due(1),
    ],
    ids=["ping", "get", "wait", "page", "batch", "lane", "parked", "changes", "cancel", "claim_due"],
)
def test_an_unreachable_redis_is_unavailable(call: Callable[[Store], Any]) -> None:
    client = connect(unused_url())
    with pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
        call(Store(client, Settings()))
    client.close()


def test_a_replica_accepts_nothing(bench: Bench) -> None:
    bench.put(S.SUBMITTING)
    _, port = unused_url().removesuffix("/0").rsplit(":", 1)
    bench.raw.replicaof("127.0.0.1", port)
    try:
        with pytest.raises(StoreUnavailable):
            bench.store.jobs.cancel("fox")
        with pytest.raises(StoreUnavailable):
            bench.store.attempts.mark_many_in_progress([("fox", 1, "t"), ("fox", 2, "t")])
    finally:
        bench.raw.replicaof("NO", "ONE")
    assert bench.store.jobs.get("fox").state is S.SUBMITTING


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (redis.ConnectionError("refused"), StoreUnavailable),
        (redis.TimeoutError("slow"), StoreUnavailable),
        (redis.ResponseError("MISCONF Errors writing to the AOF file"), StoreUnavailable),
        # Redis 6 within a script
        (
            redis.ResponseError("Error running script (call to f_1): @user_script:5: -MISCONF Errors writing"),
            StoreUnavailable,
        ),
        # redis-py in a pipeline
        (
            redis.ResponseError("Command # 2 (EVALSHA x) of pipeline caused error: OOM command not allowed"),
            StoreUnavailable,
        ),
        # Errors in our own calls are not hidden
        (redis.ResponseError("Error running script: expected 4 arguments, got 3"), redis.ResponseError),
        # A key of a type that no version writes
        (redis.ResponseError("WRONGTYPE Operation against a key"), RecordDamaged),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40],
)
def test_errors_of_redis_are_translated(error: redis.RedisError, becomes: type[Exception]) -> None:
    assert type(translated(error)) is becomes


def test_final_states_are_exactly_the_states_marked_final() -> None:
    assert {state for state in State if state.final} == FINAL
