"""What the store promises, verb by verb, on a real Redis whose clock the test holds."""

import re
import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import redis

from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.errors import BatchNotFound, JobNotFound, NotAllowed, RecordDamaged, StoreUnavailable
from jobs.job import Delivery, Due, Result
from jobs.new_job import Outcome
from jobs.policy import RECHECK
from jobs.settings import Settings
from jobs.states import FINAL, TRANSITIONS, State
from jobs.store.attempts import PUT_BACK
from jobs.store.lanes import LONGEST_HOLD
from jobs.store.manual import Verdict
from jobs.store.store import Store
from tests.support.bench import Bench, InThread, MakeJob, Priced
from tests.support.waiting import WaitFor

AGAIN = Result(error={"code": "002016095", "message": "internal"})
DEAD = Result(error={"code": "1201", "message": "refused"})
S = State
Verb = Callable[[Any, Due], Any]


def requeued(bench: Bench) -> None:
    """A job whose first submission was taken for lost."""
    claim = bench.claimed()
    assert bench.store.attempts.requeue("fox", claim.fence, "absent") == "queued"


#: How each edge of the table comes about: (from, to) → what to do with a job "fox" in the first state.
EDGES: dict[tuple[State, State], Callable[[Any], Any]] = {
    (S.QUEUED, S.SUBMITTING): lambda b: b.claimed(),
    (S.QUEUED, S.IN_DOUBT): lambda b: b.store.attempts.record_callback("fox", look=True),
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
    (S.FAILED, S.QUEUED): lambda b: b.store.jobs.retry("fox"),
    (S.CANCELLED, S.QUEUED): lambda b: b.store.jobs.retry("fox"),
    (S.EXPIRED, S.COMPLETED): lambda b: b.store.attempts.finish("fox", S.COMPLETED, Result(), "poll"),
    (S.EXPIRED, S.FAILED): lambda b: b.store.attempts.finish("fox", S.FAILED, AGAIN, "callback"),
    (S.EXPIRED, S.QUEUED): lambda b: (b.let_go(), b.store.jobs.retry("fox")),
}


def fence(bench: Bench) -> int:
    return bench.store.jobs.get("fox").fence


def test_every_edge_of_the_table_has_its_row() -> None:
    assert set(EDGES) == {(before, after) for before, following in TRANSITIONS.items() for after in following}


@pytest.mark.parametrize(("before", "after"), EDGES, ids=lambda state: state.value)
def test_an_edge(bench: Bench, before: State, after: State) -> None:
    if (before, after) == (S.QUEUED, S.EXPIRED):
        bench.job(expires_in=60)
    elif before is S.QUEUED and after not in (S.SUBMITTING, S.CANCELLED):
        requeued(bench)
    elif before is S.CANCELLED:
        bench.job()
        bench.store.jobs.cancel("fox")
    else:
        bench.put(before)
    EDGES[before, after](bench)
    assert bench.store.jobs.get("fox").state is after
    assert bench.audit() == []


#: What a claim's holder, or anybody, may call; `due` is the claim.
VERBS: dict[str, Verb] = {
    "claim": lambda b, _due: b.store.attempts.claim(["fox"]),
    "started": lambda b, due: b.store.attempts.mark_in_progress("fox", due.job.fence, "t9"),
    "doubt": lambda b, due: b.store.attempts.mark_in_doubt("fox", due.job.fence, "why"),
    "requeue": lambda b, due: b.store.attempts.requeue("fox", due.job.fence, "why"),
    "again": lambda b, due: b.store.attempts.reschedule_lookup(due, 5.0),
    "expire": lambda b, due: b.store.attempts.expire(due, 5.0),
    "completed": lambda b, _due: b.store.attempts.finish("fox", S.COMPLETED, Result(cost=Decimal(1)), "callback"),
    "failed": lambda b, _due: b.store.attempts.finish("fox", S.FAILED, DEAD, "callback"),
    "nudge": lambda b, _due: b.store.attempts.record_callback("fox", look=True),
    "cancel": lambda b, _due: b.store.jobs.cancel("fox"),
    "retry": lambda b, _due: b.store.jobs.retry("fox"),
    "pause": lambda b, _due: b.store.jobs.pause("fox"),
    "delivered": lambda b, due: b.store.deliveries.record(due, "n"),
    "undelivered": lambda b, due: b.store.deliveries.give_up(due, "n", "no"),
    "redeliver": lambda b, _due: b.store.deliveries.retry(["fox"]),
    "sent": lambda b, due: b.store.manual.settle(due.job, Verdict.SENT, task_id="t9"),
    "not sent": lambda b, due: b.store.manual.settle(due.job, Verdict.NOT_SENT),
    "given up": lambda b, due: b.store.manual.settle(due.job, Verdict.FAILED),
}
#: Where each has an effect; anywhere else the whole store stays as it is. (A cancelled or expired job is still at the
#: provider here, so the word about that end is taken in.)
EFFECTIVE: dict[str, set[State]] = {
    "claim": set(),  # nothing is admitted here
    "started": {S.SUBMITTING, S.IN_DOUBT, S.CANCELLED},
    "doubt": {S.SUBMITTING, S.CANCELLED},
    "requeue": {S.SUBMITTING, S.IN_DOUBT, S.CANCELLED},
    "again": {S.IN_DOUBT, S.IN_PROGRESS, S.EXPIRED},
    "expire": {S.IN_PROGRESS, S.EXPIRED},
    "completed": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "failed": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "nudge": {S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS, S.CANCELLED, S.EXPIRED},
    "cancel": {S.QUEUED, S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS},
    "retry": {S.FAILED},
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
        assert verb in ("cancel", "retry", "pause")


def settled(bench: Bench) -> dict[str, Any]:
    """All that is stored, without the number of contradictions, which is one of messages."""
    dump = bench.dump()
    dump.get("totals", {}).pop("contradicted", None)
    return dump


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.value)
def test_a_verb_acts_where_it_may_and_nowhere_else_and_once(bench: Bench, state: State, verb: str) -> None:
    bench.put(state)
    before, held = settled(bench), bench.holding(fence(bench))
    run(bench, verb, held)
    once = settled(bench)
    assert (once != before) == (state in EFFECTIVE[verb])
    assert bench.audit() == []
    # Its reply was lost: the same call again changes nothing more.
    run(bench, verb, held)
    assert settled(bench) == once


@pytest.mark.parametrize("verb", ["started", "doubt", "requeue", "again", "expire"])
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
def test_a_job_that_is_not_there(bench: Bench, verb: str) -> None:
    before = bench.dump()
    try:
        VERBS[verb](bench, bench.holding(0))
    except JobNotFound:
        assert verb in ("cancel", "retry", "pause")
    assert bench.dump() == before


# --- in ---------------------------------------------------------------------------------------------------------------


def test_the_same_request_is_the_same_job_and_another_a_conflict(bench: Bench, make: MakeJob) -> None:
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
        bench.store.context.scripts.call("enqueue", "", "{}", 1, "", "fox", "text", "{}", "hen")
    bench.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
            bench.store.jobs.enqueue([make("fox"), make("hen")], "x")
    finally:
        bench.raw.config_set("maxmemory", 0)
    assert bench.dump() == before


def test_a_batch_counts_its_own(bench: Bench, make: MakeJob, priced: Priced) -> None:
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


def test_a_batch_of_known_jobs_only_is_empty_and_done(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("fox")])
    bench.store.jobs.enqueue([make("fox")], "x")
    assert (bench.store.batches.get("x").accepted, bench.store.batches.get("x").done) == (0, True)
    with pytest.raises(BatchNotFound):
        bench.store.batches.get("y")


# --- out --------------------------------------------------------------------------------------------------------------


def test_slots_count_images_and_are_never_exceeded(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(max_in_flight=4)
    store.jobs.enqueue([make("a", n=3), make("b", n=2), make("c", n=1)])
    assert store.attempts.admit(10).ids == ("a",)  # b does not fit, and nobody overtakes it
    assert bench.slots() == (0, 3)
    (claim,) = store.attempts.claim(["a", "a", "b"])
    assert bench.slots() == (3, 0)
    store.jobs.cancel("a")
    assert bench.slots() == (3, 0)  # it may be running there all the same
    assert store.attempts.requeue("a", claim.fence, "429") == "over"
    assert store.attempts.admit(10).ids == ("b", "c")


def test_a_job_of_more_images_than_slots_goes_alone(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(max_in_flight=2)
    store.jobs.enqueue([make("a"), make("big", n=9), make("b")])
    assert store.attempts.admit(10).ids == ("a",)
    (claim,) = store.attempts.claim(["a"])
    assert store.attempts.admit(10).ids == ()
    store.attempts.mark_in_progress("a", claim.fence, "t")
    store.attempts.finish("a", S.COMPLETED, Result(), "callback")
    assert store.attempts.admit(10).ids == ("big",)
    assert store.attempts.admit(10).ids == ()


def test_the_rate_is_kept_after_a_burst_of_a_second(bench: Bench, make: MakeJob) -> None:
    store = bench.with_settings(submit_rate=2.0)
    store.jobs.enqueue([make(f"j{number:02}") for number in range(20)])
    assert len(store.attempts.admit(20).ids) == 3
    for _ in range(6):
        bench.forward(0.5)
        assert len(store.attempts.admit(20).ids) == 1


def test_more_is_said_when_the_step_was_too_small(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    assert bench.store.attempts.admit(2).more
    assert not bench.store.attempts.admit(2).more


def test_a_lost_message_puts_the_job_back(bench: Bench) -> None:
    bench.job()
    assert bench.alarm("fox") == RECHECK
    assert bench.store.attempts.admit(1).ids == ("fox",)
    assert (bench.ready(), bench.alarm("fox"), bench.slots()) == ([], PUT_BACK, (0, 1))
    bench.forward(PUT_BACK)
    rung = bench.store.attempts.claim_due(10)
    assert (rung.dues, rung.due_count, rung.admit_hint) == ((), 1, True)
    assert (bench.ready(), bench.slots()) == (["fox"], (0, 0))
    assert bench.store.attempts.claim(["fox"]) == []  # the message came after all
    assert bench.store.attempts.admit(1).ids == ("fox",)


def test_a_lost_claim_is_looked_up_after_its_lease(bench: Bench) -> None:
    claim = bench.claimed()
    assert bench.alarm("fox") == 60
    due = bench.due()
    assert (due.job.state, due.job.fence, due.overdue) == (S.IN_DOUBT, claim.fence + 1, False)
    assert not bench.store.attempts.mark_in_progress("fox", claim.fence, "t")


def test_hints_are_sent_once_at_a_time(bench: Bench, make: MakeJob) -> None:
    assert bench.store.jobs.enqueue([make("a")]).admit_hint
    assert not bench.store.jobs.enqueue([make("b")]).admit_hint
    (claim,) = (bench.store.attempts.admit(1), bench.store.attempts.claim(["a"]))[1]
    assert bench.store.jobs.enqueue([make("c")]).admit_hint
    bench.store.attempts.mark_in_progress("a", claim.fence, "t")
    assert bench.store.attempts.record_callback("a", look=True).admit_hint
    assert not bench.store.attempts.record_callback("a", look=True).admit_hint
    bench.store.attempts.claim_due(10)
    assert bench.store.attempts.record_callback("a", look=True).admit_hint


# --- holds ------------------------------------------------------------------------------------------------------------


def hold(bench: Bench, least: float = 0.0, reason: str = "429") -> float:
    """How long from now the lane is held."""
    return bench.store.lanes.hold(reason, base=8.0, cap=20.0, least=least) - bench.now / 1e6


def test_holds_double_up_to_a_cap_and_one_job_goes_ahead(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    for floor, cap in ((4, 8), (8, 16), (10, 20), (10, 20)):
        wait = hold(bench)
        assert floor <= round(wait, 3) <= cap
        assert bench.store.attempts.admit(5).ids == ()
        bench.forward(wait + 0.001)
        (ahead,) = bench.store.attempts.admit(5).ids
        assert bench.store.attempts.admit(5).ids == ()
        (claim,) = bench.store.attempts.claim([ahead])
        assert bench.store.attempts.admit(5).ids == ()
        bench.store.attempts.requeue(ahead, claim.fence, "429")
    (ahead,) = bench.store.attempts.admit(5).ids
    (claim,) = bench.store.attempts.claim([ahead])
    bench.store.attempts.mark_in_progress(ahead, claim.fence, "t")
    assert len(bench.store.attempts.admit(5).ids) == 2
    assert bench.lane().keys() & {"level", "why", "since"} == set()


def test_an_early_callback_opens_the_lane_as_the_answer_would(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("a"), make("b"), make("c")])
    bench.forward(hold(bench) + 0.001)
    (ahead,) = bench.store.attempts.admit(5).ids
    bench.store.attempts.claim([ahead])
    bench.store.attempts.finish(ahead, S.COMPLETED, Result(), "callback")
    assert len(bench.store.attempts.admit(5).ids) == 2


def test_an_older_answer_does_not_end_a_hold(bench: Bench) -> None:
    claim = bench.claimed()
    hold(bench, reason="402 no balance")
    assert bench.store.attempts.mark_in_progress("fox", claim.fence, "t")
    assert (bench.lane()["why"], bench.lane()["level"]) == ("402 no balance", "1")


def test_a_claim_during_a_hold_puts_the_job_back(bench: Bench) -> None:
    bench.job()
    bench.store.attempts.admit(1)
    hold(bench)
    assert bench.store.attempts.claim(["fox"]) == []
    assert (bench.ready(), bench.slots()) == (["fox"], (0, 0))


def test_retry_after_lengthens_a_hold_but_not_for_ever(bench: Bench) -> None:
    since = bench.now
    hold(bench)
    assert hold(bench) < 9  # answers of the same moment say the same thing
    bench.forward(1)
    assert round(hold(bench, 100.0), 3) == 100
    assert hold(bench, 1e18) <= LONGEST_HOLD
    assert bench.lane()["since"] == str(since)


def test_a_hold_is_shown_with_its_reason(store: Store) -> None:
    assert not store.lanes.get().held
    store.lanes.hold("402 no balance", base=60.0, cap=60.0)
    lane = store.lanes.get()
    assert (lane.held, lane.reason) == (True, "402 no balance")
    assert lane.held_since is not None
    assert lane.held_until is not None
    assert lane.held_since < lane.held_until


# --- back -------------------------------------------------------------------------------------------------------------


def test_the_first_word_counts(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.01"), "callback").outcome == "finished"
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.02"), "poll").outcome == "already"
    assert bench.store.attempts.finish("fox", S.FAILED, DEAD, "poll").outcome == "contradicted"
    job, totals = bench.store.jobs.get("fox"), bench.store.statistics.totals()
    assert (job.settled_by, job.result.cost, totals.cost, totals.contradicted) == (
        "callback", Decimal("0.01"), Decimal("0.01"), 1,
    )  # fmt: skip


def test_a_failure_worth_it_is_a_new_attempt_until_there_were_enough(bench: Bench) -> None:
    for attempt, word in ((1, "again"), (2, "again"), (3, "finished")):
        if attempt > 1:
            bench.forward(300)
            bench.store.attempts.claim_due(10)
        claim = bench.claimed()
        external = "fox" if attempt == 1 else f"fox~{attempt}"
        assert claim.external_task_id == external
        bench.store.attempts.mark_in_progress("fox", claim.fence, "t")
        assert bench.store.attempts.finish(external, S.FAILED, AGAIN, "poll").outcome == word
        if word == "again":
            assert bench.store.attempts.finish(external, S.COMPLETED, Result(), "callback").outcome == "stale"
            assert (
                bench.store.attempts.finish(f"fox~{attempt + 1}", S.COMPLETED, Result(), "callback").outcome
                == "unknown"
            )
    assert bench.store.jobs.get("fox").state is S.FAILED


@pytest.mark.parametrize("external", ["", "~2", "fox~1", "fox~02", "fox~", "fox~2~3", "nobody"])
def test_an_id_that_is_none_of_ours(bench: Bench, external: str) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish(external, S.COMPLETED, Result(), "callback").outcome == "unknown"
    assert bench.store.attempts.record_callback(external, look=True).outcome == "unknown"


@pytest.mark.parametrize(("state", "after"), [(S.CANCELLED, S.CANCELLED), (S.EXPIRED, S.COMPLETED)])
def test_a_late_result_is_kept_and_accounted(bench: Bench, priced: Priced, state: State, after: State) -> None:
    bench.put(state)
    assert bench.slots()[0] == 1
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("0.5"), "callback").outcome == "finished"
    job = bench.store.jobs.get("fox")
    assert (job.state, job.result.cost, job.at_provider) == (after, Decimal("0.5"), None)
    assert (bench.slots(), bench.alarm("fox"), bench.store.lanes.get().cost) == ((0, 0), None, Decimal("0.5"))


def test_a_cost_that_no_sum_could_hold_does_not_keep_the_job_from_ending(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.attempts.finish("fox", S.COMPLETED, priced("1e12"), "callback").outcome == "finished"
    assert bench.store.lanes.get().cost == 0


def test_an_attempt_ends_in_no_other_way(bench: Bench, priced: Priced) -> None:
    bench.put(S.IN_PROGRESS)
    before = bench.dump()
    with pytest.raises(redis.ResponseError, match="completed or failed"):
        bench.store.attempts.finish("fox", S.EXPIRED, priced("1"), "poll")
    assert bench.dump() == before


def test_a_callback_during_a_look_asks_for_another(bench: Bench) -> None:
    bench.put(S.IN_PROGRESS)
    due = bench.due()
    bench.store.attempts.record_callback("fox", look=True)
    assert bench.store.attempts.reschedule_lookup(due, 30.0)
    assert bench.alarm("fox") == 0


def test_what_a_callback_has_proven_is_not_sent_again(bench: Bench) -> None:
    # Given a submission whose look-ups find nothing yet
    bench.put(S.IN_DOUBT)
    due = bench.due()
    # When a callback comes while the last of them is under way
    bench.store.attempts.record_callback("fox", look=False)
    # Then it is not queued again, but looked at at once
    assert bench.store.attempts.requeue("fox", due.job.fence, "absent") == "doubt"
    assert (bench.store.jobs.get("fox").state, bench.alarm("fox")) == (S.IN_DOUBT, 0)


def test_what_a_callback_has_proven_outlives_the_answer(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.record_callback("fox", look=False)
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    assert bench.store.jobs.get("fox").exists
    bench.put(S.SUBMITTING, "hen")
    bench.store.attempts.record_callback("hen", look=False)
    assert bench.store.attempts.requeue("hen", 1, "429") == "doubt"
    assert bench.store.jobs.get("hen").state is S.IN_DOUBT


def test_an_expired_job_is_watched_for_as_long_again(bench: Bench) -> None:
    bench.put(S.EXPIRED)
    bench.forward(7200)
    due = bench.due()
    assert due.overdue
    assert bench.store.attempts.expire(due, 30.0).outcome == "over"
    assert (bench.slots(), bench.alarm("fox")) == ((0, 0), None)


# --- deliveries -------------------------------------------------------------------------------------------------------


def test_deliveries_are_owed_until_made(bench: Bench) -> None:
    claim = bench.claimed(owed="nc")
    settled_ = bench.store.attempts.finish("fox", S.FAILED, DEAD, "submit", fence=claim.fence)
    assert settled_.owed
    (due,) = bench.store.deliveries.claim(["fox", "nobody"])
    assert due.job.owing == {Delivery.NOTIFY, Delivery.CELERY}
    assert due.job.result == DEAD
    for _ in range(2):  # the reply was lost
        assert bench.store.deliveries.record(due, Delivery.NOTIFY, retry_in=7.0) == "owed"
    assert (bench.alarm("fox"), bench.store.jobs.get("fox").delivery_tries) == (7, 1)
    for _ in range(2):
        assert bench.store.deliveries.record(due, Delivery.CELERY) == "owed"
    assert bench.alarm("fox") == 7  # the other one's next try stands
    assert bench.store.deliveries.record(bench.due(), Delivery.NOTIFY) == "clear"
    assert (bench.alarm("fox"), bench.fields("fox").keys() & set("ghiz")) == (None, set())


@pytest.mark.parametrize("state", [S.SUBMITTING, S.IN_DOUBT, S.IN_PROGRESS], ids=lambda state: state.value)
def test_a_cancelled_jobs_delivery_does_not_disturb_the_provider_side(bench: Bench, state: State) -> None:
    # Given a job at the provider, cancelled, whose producer wants to be told
    bench.put(state, owed="n")
    look, held = bench.alarm("fox"), fence(bench)
    bench.store.jobs.cancel("fox")
    # When it is told, or cannot be told for long
    dues = bench.store.attempts.claim_due(10).dues
    (due,) = bench.store.deliveries.claim(["fox"])
    assert [each.job.owing for each in dues] == [{Delivery.NOTIFY}] * (1 if state is not S.IN_DOUBT else len(dues))
    bench.store.deliveries.record(due, Delivery.NOTIFY, retry_in=3600.0)
    # Then the lease, or the next look, is where it was, and its holder's word still counts
    assert (bench.store.jobs.get("fox").at_provider, fence(bench)) == (state, held)
    assert bench.alarm("fox") == look
    if state is S.SUBMITTING:
        assert bench.store.attempts.mark_in_progress("fox", held, "t")
        assert bench.alarm("fox") == 5
    # And the looks go on between the tries
    due = bench.due()
    assert due.job.owing == frozenset()
    assert due.job.at_provider in (S.IN_DOUBT, S.IN_PROGRESS)
    bench.store.attempts.reschedule_lookup(due, 10_000.0)
    assert bench.due().job.owing == {Delivery.NOTIFY}


def test_the_last_delivery_leaves_the_look_where_it_was(bench: Bench) -> None:
    bench.put(S.SUBMITTING, owed="n")
    bench.store.jobs.cancel("fox")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "clear"
    assert bench.alarm("fox") == 60
    assert bench.due().job.at_provider is S.IN_DOUBT


def test_a_late_result_is_told_though_the_expiry_was_being_told(bench: Bench) -> None:
    bench.put(S.EXPIRED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    assert bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback").owed
    assert bench.store.deliveries.record(due, Delivery.NOTIFY) == "refused"
    # and the Celery message, which nobody has finished yet, is not forgotten
    assert bench.store.jobs.get("fox").owing == {Delivery.NOTIFY, Delivery.CELERY}


def test_a_celery_message_is_not_finished_twice(bench: Bench) -> None:
    bench.put(S.EXPIRED, owed="nc")
    (due,) = bench.store.deliveries.claim(["fox"])
    bench.store.deliveries.record(due, Delivery.CELERY)
    bench.store.deliveries.record(due, Delivery.NOTIFY)
    bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback")
    assert bench.store.jobs.get("fox").owing == {Delivery.NOTIFY}


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_a_retry_is_a_new_attempt_only_if_the_last_was_sent(bench: Bench) -> None:
    bench.job()
    bench.store.jobs.cancel("fox")
    assert bench.store.jobs.retry("fox").outcome == "queued"
    assert bench.claimed().external_task_id == "fox"
    bench.store.attempts.finish("fox", S.FAILED, DEAD, "callback")
    bench.store.jobs.retry("fox")
    job = bench.store.jobs.get("fox")
    assert (job.external_task_id, job.result, job.finished_at, job.reason) == ("fox~2", None, None, None)
    assert bench.store.jobs.retry("fox").outcome == "already"


@pytest.mark.parametrize("state", [S.CANCELLED, S.EXPIRED], ids=lambda state: state.value)
def test_no_retry_while_the_provider_may_be_working(bench: Bench, state: State) -> None:
    bench.put(state)
    with pytest.raises(NotAllowed, match="paid twice"):
        bench.store.jobs.retry("fox")


def test_no_retry_of_a_cancelled_job_whose_pictures_came_late(bench: Bench) -> None:
    pictures = Result(output=({"type": "image", "url": "u"},))
    bench.put(S.CANCELLED)
    bench.store.attempts.finish("fox", S.COMPLETED, pictures, "poll")
    with pytest.raises(NotAllowed, match="paid for"):
        bench.store.jobs.retry("fox")
    job = bench.store.jobs.get("fox")
    assert (job.state, job.result) == (S.CANCELLED, pictures)


def test_words_by_hand(bench: Bench) -> None:
    bench.put(S.COMPLETED)
    with pytest.raises(NotAllowed, match="completed"):
        bench.store.jobs.cancel("fox")
    with pytest.raises(NotAllowed, match="another external_task_id"):
        bench.store.jobs.retry("fox")
    for verb in (bench.store.jobs.cancel, bench.store.jobs.retry, bench.store.jobs.get):
        with pytest.raises(JobNotFound):
            verb("nobody")


# --- reading ----------------------------------------------------------------------------------------------------------


def test_pages_stay_whole_while_jobs_move(bench: Bench, make: MakeJob) -> None:
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
    assert [job.id for job in bench.store.jobs.page(S.CANCELLED).jobs] == ["j2"]
    part = bench.store.batches.page_of_jobs("x", S.QUEUED, limit=2)
    rest = bench.store.batches.page_of_jobs("x", S.QUEUED, cursor=part.cursor, limit=9)
    assert [job.id for job in (*part.jobs, *rest.jobs)] == ["j0", "j1", "j4", "j5", "j6"]


def test_changes_are_read_once(bench: Bench) -> None:
    bench.put(S.CANCELLED)
    assert [(each.before, each.state) for each in bench.store.events.read_new(10)] == [
        (None, S.QUEUED), (S.QUEUED, S.SUBMITTING), (S.SUBMITTING, S.CANCELLED),
    ]  # fmt: skip
    assert bench.store.events.read_new(10) == []


@pytest.mark.parametrize("missed", [False, True], ids=["told", "message missed"])
def test_wait_ends_with_the_job(bench: Bench, in_thread: InThread, wait_for: WaitFor, missed: bool) -> None:
    bench.put(S.IN_PROGRESS)
    waiting = in_thread(lambda: bench.store.jobs.wait("fox", 20.0))
    channel = bench.keys.member("ended", "fox")
    wait_for(lambda: bench.raw.pubsub_numsub(channel)[0][1] == 1)
    if missed:  # as if the connection had been away while it was told
        bench.raw.hset(bench.keys.member("job", "fox"), mapping={"s": "completed", "e": bench.now})
    else:
        bench.store.attempts.finish("fox", S.COMPLETED, Result(), "callback")
    assert waiting(timeout=10).state is S.COMPLETED


def test_wait_gives_up_in_time(bench: Bench) -> None:
    bench.put(S.IN_PROGRESS)
    assert bench.store.jobs.wait("fox", 0.05).state is S.IN_PROGRESS
    with pytest.raises(JobNotFound):
        bench.store.jobs.wait("nobody", 0.0)


# --- keeping house ----------------------------------------------------------------------------------------------------


def test_purge_forgets_what_ended_long_ago(bench: Bench, make: MakeJob) -> None:
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
    assert store.jobs.purge() == (2, 0)  # the batch's last job is gone, but not its last unfinished one
    store.jobs.cancel("live")
    assert store.batches.get("x").done
    bench.forward(101)
    assert store.jobs.purge() == (1, 1)
    assert store.jobs.purge() == (0, 0)
    assert set(bench.dump()) == {"changes", "epoch", "p:", "pools", "totals"}


# --- Redis away -------------------------------------------------------------------------------------------------------


def test_scripts_survive_a_flush(bench: Bench) -> None:
    bench.job()
    bench.raw.script_flush()
    assert bench.store.attempts.admit(1).ids == ("fox",)
    bench.raw.script_flush()
    assert bench.store.attempts.mark_many_in_progress([("fox", 1, "t"), ("hen", 1, "t")]) == [False, False]


def nowhere() -> str:
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
def test_redis_away(call: Callable[[Store], Any]) -> None:
    client = connect(nowhere())
    with pytest.raises(StoreUnavailable, match="BOOMERANG_REDIS_URL"):
        call(Store(client, Settings()))
    client.close()


def test_a_replica_takes_nothing(bench: Bench) -> None:
    bench.put(S.SUBMITTING)
    _, port = nowhere().removesuffix("/0").rsplit(":", 1)
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
        # Redis 6, from within a script
        (
            redis.ResponseError("Error running script (call to f_1): @user_script:5: -MISCONF Errors writing"),
            StoreUnavailable,
        ),
        # redis-py, in a pipeline
        (
            redis.ResponseError("Command # 2 (EVALSHA x) of pipeline caused error: OOM command not allowed"),
            StoreUnavailable,
        ),
        # our own mistakes stay visible
        (redis.ResponseError("Error running script: expected 4 arguments, got 3"), redis.ResponseError),
        # what no version writes
        (redis.ResponseError("WRONGTYPE Operation against a key"), RecordDamaged),
    ],
    ids=lambda value: re.sub(r"\W+", "-", str(value))[:40],
)
def test_what_counts_as_unavailable(error: redis.RedisError, becomes: type[Exception]) -> None:
    assert type(translated(error)) is becomes


def test_final_states_are_where_wait_ends() -> None:
    assert {state for state in State if state.final} == FINAL
