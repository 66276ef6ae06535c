"""Bulk actions change just the jobs that met the filter when they began, step by step, whatever happens meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.bulk import BulkAction, BulkState, Skipped
from jobs.errors import BulkNotFound, NotAllowed
from jobs.estimates import Base
from jobs.failures import FailureClass
from jobs.fields import Field
from jobs.job import Priority
from jobs.job_filter import ALL_JOBS, JobFilter
from jobs.new_job import BatchOptions
from jobs.result import Result
from jobs.states import State
from jobs.store import bulks
from tests.support.bench import Bench, MakeJob, bench_on, new
from tests.support.examples import examples

S, A = State, BulkAction
ID, OTHER = "0" * 16, "1" * 16
#: A step of any action that changes one job.
STEP = ("bulk", "", 500, 1, 900_000_000)
REFUSED = Result(error={"code": "1301", "message": "refused"})


def begin(bench: Any, action: BulkAction, only: JobFilter = ALL_JOBS, bulk_id: str = ID, **changes: Any) -> Any:
    """Begin an action, and return it after the work that its caller waits for."""
    bench.store.bulks.begin(bulk_id, action, only, asked={}, **changes)
    return bench.store.bulks.get(bulk_id)


def begin_only(bench: Any, action: BulkAction, only: JobFilter = ALL_JOBS, bulk_id: str = ID, owner: str = "*") -> None:
    """Begin an action. The process that begins it dies before the first step."""
    facts = {"action": action, "filter": action.meant(only).to_script_json(action.states), "asked": {}, "key": ""}
    call = bench.store.context.scripts.call
    assert call("begin_bulk", bulk_id, owner, json.dumps(facts), bulks.MOST_RUNNING, bulks.MOST_KEPT) == "begun"


def states(bench: Any, *ids: str) -> list[State]:
    return [job.state for job in bench.store.jobs.get_many(list(ids))]


def fail(bench: Any, *ids: str, result: Result = REFUSED) -> None:
    bench.store.attempts.admit(1000)
    for claim in bench.store.attempts.claim(list(ids)):
        bench.store.attempts.mark_in_progress(claim.id, claim.fence, f"t-{claim.id}")
        bench.store.attempts.finish(claim.external_task_id, S.FAILED, result, "poll", fence=claim.fence)


@pytest.fixture
def failed(bench: Bench, make: MakeJob) -> Bench:
    """Four failed jobs of a batch, and one of another."""
    bench.store.jobs.enqueue([make(each) for each in "abcd"], "x")
    bench.store.jobs.enqueue([make("z")], "y")
    fail(bench, "a", "b", "c", "d", "z")
    bench.forward(1)
    return bench


def test_failed_jobs_of_a_filter_are_retried(failed: Bench) -> None:
    found = begin(failed, A.RETRY, JobFilter(batch="x", classes=[FailureClass.MODERATION]))
    assert (found.state, found.affected, found.share) == (BulkState.DONE, 4, 1.0)
    assert states(failed, *"abcdz") == [S.QUEUED] * 4 + [S.FAILED]
    assert [failed.store.jobs.get(each).attempt for each in "az"] == [2, 1]
    assert failed.audit() == []


def test_a_dry_run_counts_and_changes_nothing(failed: Bench) -> None:
    before = failed.dump()
    found = begin(failed, A.RETRY, JobFilter(batch="x"), dry_run=True)
    assert (found.dry_run, found.affected, found.state) == (True, 4, BulkState.DONE)
    assert found.estimate.base is Base.UNKNOWN
    assert found.estimate.unpriced == 4
    after = failed.dump()
    assert {name: value for name, value in after.items() if name[:3] not in ("bk:", "bo:")} == before


def test_a_dry_run_tells_the_expected_cost(bench: Bench, make: MakeJob, priced: Callable[[str], Result]) -> None:
    bench.store.jobs.enqueue([make(f"j{number}") for number in range(8)])
    bench.store.attempts.admit(100)
    for claim in bench.store.attempts.claim([f"j{number}" for number in range(5)]):
        bench.store.attempts.finish(claim.id, S.COMPLETED, priced("0.02"), "poll")
    fail(bench, "j5", "j6")
    bench.forward(1)
    assert begin(bench, A.RETRY, dry_run=True).estimate.expected == Decimal("0.04")
    assert begin(bench, A.CANCEL, bulk_id=OTHER, dry_run=True).estimate.expected == Decimal("0.02")


@pytest.mark.parametrize("action", A)
def test_every_action_follows_the_rules_of_the_one_on_a_single_job(action: BulkAction, redis_url: str) -> None:
    def world(bench: Any) -> None:
        bench.store.jobs.enqueue([new(each) for each in ("waits", "paused", "runs", "doubt", "dead", "done", "late")])
        bench.store.jobs.pause("paused")
        bench.store.attempts.admit(100)
        claims = {claim.id: claim for claim in bench.store.attempts.claim(["runs", "doubt", "dead", "done", "late"])}
        bench.store.attempts.mark_in_progress("runs", claims["runs"].fence, "t1")
        bench.store.attempts.mark_in_doubt("doubt", claims["doubt"].fence, "no answer")
        bench.store.attempts.finish("dead", S.FAILED, REFUSED, "poll")
        bench.store.attempts.finish("done", S.COMPLETED, Result(output=({"type": "image", "url": "u"},)), "poll")
        bench.store.jobs.cancel("late")
        bench.forward(1)

    def single(bench: Any) -> None:
        for each in ("waits", "paused", "runs", "doubt", "dead", "done", "late"):
            job = bench.store.jobs.get(each)
            if action is A.PRIORITY or job.state not in action.states:
                continue
            try:
                getattr(bench.store.jobs, action)(each)
            except NotAllowed:
                continue

    with bench_on(redis_url) as bench:
        world(bench)
        if action is A.PRIORITY:
            found = begin(bench, action, priority=Priority.HIGH)
            assert found.affected == 2
            assert [bench.store.jobs.get(each).priority for each in ("waits", "paused", "runs")] == [
                "high",
                "high",
                "normal",
            ]
            assert bench.raw.zrange("{b}:q:|0|k", 0, -1) == ["waits"] or bench.store.jobs.get("waits").admitted
        else:
            begin(bench, action, JobFilter(states=list(action.states)))
            changed = bench.dump()
            bench.raw.flushall()
            bench.wind_up()
            world(bench)
            single(bench)
            alone = bench.dump()
            records = {name: value for name, value in alone.items() if name[:2] in ("j:", "s:", "q:", "f:", "p:")}
            assert {name: changed.get(name) for name in records} == records
        assert bench.audit() == []


def test_jobs_that_come_later_are_left_alone(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make("old")], "x")
    begin_only(bench, A.CANCEL, JobFilter(batch="x"))
    bench.store.jobs.enqueue([make("new")], "x")
    bench.store.bulks.advance()
    assert states(bench, "old", "new") == [S.CANCELLED, S.QUEUED]


def test_jobs_that_fail_after_the_beginning_are_not_retried(failed: Bench, make: MakeJob) -> None:
    failed.store.jobs.enqueue([make("later")], "x")
    begin_only(failed, A.RETRY, JobFilter(batch="x"))
    failed.forward(1)
    fail(failed, "later")
    failed.store.jobs.retry("a")
    fail(failed, "a")
    failed.store.bulks.advance()
    assert states(failed, *"abcd", "later") == [S.FAILED, S.QUEUED, S.QUEUED, S.QUEUED, S.FAILED]
    assert failed.store.bulks.get(ID).skipped == {Skipped.CHANGED: 2}


def test_unfinished_jobs_that_move_on_are_cancelled_nevertheless(bench: Bench, make: MakeJob) -> None:
    bench.store.jobs.enqueue([make(each) for each in "ab"], "x")
    begin_only(bench, A.CANCEL, JobFilter(batch="x"))
    bench.forward(1)
    bench.store.attempts.admit(100)
    bench.store.attempts.claim(["a"])
    bench.store.bulks.advance()
    found = bench.store.bulks.get(ID)
    assert states(bench, "a", "b") == [S.CANCELLED, S.CANCELLED]
    assert (found.affected, found.at_provider) == (2, 1)
    assert bench.audit() == []


def test_each_job_is_retried_once_although_it_fails_again_meanwhile(
    failed: Bench,
) -> None:
    begin_only(failed, A.RETRY, JobFilter(batch="x"))
    for _ in range(8):
        failed.store.context.scripts.call(*STEP)
        failed.forward(1)
        fail(failed, *"abcd")
    assert [failed.store.jobs.get(each).attempt for each in "abcd"] == [2, 2, 2, 2]
    assert failed.store.bulks.get(ID).state is BulkState.DONE


def test_a_producer_changes_its_own_jobs_only(bench: Bench) -> None:
    for owner in ("shop", "press"):
        bench.store.jobs.enqueue([new(f"{owner}-1", owner=owner)])
        bench.store.jobs.enqueue([new(f"{owner}-2")], f"of-{owner}", BatchOptions(owner=owner))
    begin(bench, A.CANCEL, JobFilter(owner="shop"), caller="shop")
    assert states(bench, "shop-1", "shop-2", "press-1", "press-2") == [S.CANCELLED] * 2 + [S.QUEUED] * 2
    for call in (bench.store.bulks.get, bench.store.bulks.abort):
        with pytest.raises(BulkNotFound):
            call(ID, caller="press")
    assert bench.store.bulks.last(caller="press") == []
    assert [each.id for each in bench.store.bulks.last(caller="shop")] == [ID]


def test_an_abort_ends_it(failed: Bench) -> None:
    begin_only(failed, A.RETRY, JobFilter(batch="x"))
    failed.store.context.scripts.call(*STEP)
    assert failed.store.bulks.abort(ID)
    assert not failed.store.bulks.abort(ID)
    failed.store.bulks.advance()
    assert states(failed, *"abcd").count(S.QUEUED) == 1
    assert failed.store.bulks.get(ID).state is BulkState.ABORTED


def test_a_caller_has_few_under_way_and_the_last_ones_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(bulks.MOST_RUNNING):
        begin_only(bench, A.CANCEL, bulk_id=f"{number:016x}", owner="shop")
    with pytest.raises(NotAllowed, match="under way"):
        bench.store.bulks.begin(OTHER, A.PAUSE, ALL_JOBS, asked={}, caller="shop")
    begin(bench, A.CANCEL, bulk_id="f" * 16, caller="press")
    bench.store.bulks.advance()
    monkeypatch.setattr(bulks, "MOST_KEPT", 2)
    begin(bench, A.CANCEL, bulk_id="e" * 16, caller="shop")
    assert len(bench.store.bulks.last(caller="shop")) == 2
    assert bench.raw.keys("{b}:bk:*") != []
    assert len(bench.raw.keys("{b}:bk:*")) == 3


def test_actions_take_turns(bench: Bench, make: MakeJob) -> None:
    for batch in ("x", "y"):
        bench.store.jobs.enqueue([make(f"{batch}{number}") for number in range(200)], batch)
    begin_only(bench, A.CANCEL, JobFilter(batch="x"), ID)
    begin_only(bench, A.CANCEL, JobFilter(batch="y"), OTHER, owner="press")
    for _ in range(10):
        bench.forward(1)
        bench.store.context.scripts.call(*STEP)
    found = [bench.store.bulks.get(each).affected for each in (ID, OTHER)]
    assert found == [5, 5]


def test_a_repeat_with_its_id_goes_on_and_with_another_action_is_refused(failed: Bench) -> None:
    begin(failed, A.RETRY, JobFilter(batch="x"))
    failed.forward(1)
    fail(failed, *"abcd")
    assert begin(failed, A.RETRY, JobFilter(batch="x")).affected == 4
    assert [failed.store.jobs.get(each).attempt for each in "abcd"] == [2, 2, 2, 2]
    with pytest.raises(NotAllowed, match="another"):
        begin(failed, A.CANCEL, JobFilter(batch="x"))


def test_a_damaged_record_keeps_no_other_from_being_changed(failed: Bench) -> None:
    failed.raw.hset("{b}:j:b", Field.ATTEMPT, "many")
    found = begin(failed, A.RETRY, JobFilter(batch="x"))
    assert found.skipped == {Skipped.DAMAGED: 1}
    assert states(failed, "a", "c", "d") == [S.QUEUED] * 3


def test_it_waits_for_a_process_that_can_read_a_newer_record(failed: Bench) -> None:
    failed.raw.hset("{b}:j:b", Field.VERSION, 99)
    found = begin(failed, A.RETRY, JobFilter(batch="x"))
    assert (found.state, found.affected) == (BulkState.RUNNING, 1)
    failed.raw.hset("{b}:j:b", Field.VERSION, 3)
    failed.store.bulks.advance()
    assert failed.store.bulks.get(ID).affected == 4


@settings(max_examples=examples(40))
@given(
    ends=st.lists(st.sampled_from(["queued", "failed", "cancelled", "completed", "runs"]), max_size=24),
    action=st.sampled_from([A.CANCEL, A.RETRY, A.PAUSE]),
    step=st.sampled_from([1, 3, 500]),
    dry_first=st.booleans(),
)
def test_a_dry_run_counts_what_the_action_then_changes(
    redis_server: Any, ends: list[str], action: BulkAction, step: int, dry_first: bool
) -> None:
    with bench_on(redis_server.url) as bench, pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulks, "CHECKED", step)
        bench.raw.flushall()
        bench.wind_up()
        bench.store.jobs.enqueue([replace(new(f"j{n}"), labels={"n": str(n % 2)}) for n in range(len(ends))], "x")
        bench.store.attempts.admit(1000)
        for number, end in enumerate(ends):
            if end not in ("queued", "cancelled"):
                (claim,) = bench.store.attempts.claim([f"j{number}"])
                if end != "runs":
                    bench.store.attempts.finish(claim.id, S(end), REFUSED if end == "failed" else Result(), "poll")
            elif end == "cancelled":
                bench.store.jobs.cancel(f"j{number}")
        bench.forward(1)
        only = JobFilter(labels={"n": "0"}, batch="x")
        counted = begin(bench, action, only, OTHER, dry_run=True) if dry_first else None
        done = begin(bench, action, only)
        wanted = {A.CANCEL: ("queued", "runs"), A.RETRY: ("failed",), A.PAUSE: ("queued",)}[action]
        assert done.affected == sum(end in wanted for end in ends[::2])
        assert counted is None or counted.affected == done.affected
        assert bench.audit() == []
