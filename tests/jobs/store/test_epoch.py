"""After a restart or a failover Redis may have lost writes, so waiting jobs are looked up before they are sent."""

from contextlib import closing

import pytest

from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.lanes import LaneSettings
from jobs.policy import absent_beyond_doubt
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.bench import CLOCK, Bench

AGAIN = Result(error={"code": "002016095", "message": "internal"})


def restart(bench: Bench) -> None:
    """Make Redis look like another process than the one that was last seen."""
    bench.store.attempts.claim(["absent"])  # records which process this is
    bench.raw.hset(bench.keys.singleton("epoch"), "run", "another")


def look_up(bench: Bench, job_id: str = "fox") -> float:
    """Look the job up in vain until it is absent beyond doubt. Return the seconds that this took."""
    begun = bench.now
    while True:
        due = bench.due(job_id)
        if absent_beyond_doubt(due.job.lookups + 1, due.doubtful_for, bench.store.context.settings):
            assert bench.store.attempts.requeue(job_id, due.job.fence, "absent") == "queued"
            return float(bench.now - begun) / 1e6
        bench.store.attempts.reschedule_lookup(due, 2.0)


def test_the_first_contact_with_a_redis_is_no_restart(bench: Bench) -> None:
    assert bench.claimed().id == "fox"
    assert bench.store.attempts.claim_due(10).epoch == 0


def test_after_a_restart_a_waiting_job_is_looked_up_before_it_is_sent(bench: Bench) -> None:
    bench.job()
    restart(bench)
    assert bench.store.attempts.admit(1).ids == ("fox",)
    assert bench.store.attempts.claim(["fox"]) == []
    job = bench.store.jobs.get("fox")
    assert (job.state, job.forgotten, bench.alarm("fox")) == (State.IN_DOUBT, True, 0)
    assert "Redis" in job.reason
    # A worker may still send what it claimed in the lost time: until its lease ends no look-up counts
    settings = bench.store.context.settings
    assert (
        settings.submit_lease + settings.lookup_grace
        <= look_up(bench)
        <= settings.submit_lease + 2 * settings.lookup_grace
    )
    assert bench.claimed("fox").attempt == 1
    assert not bench.store.jobs.get("fox").forgotten
    assert audit(bench.store) == []


def test_long_after_a_restart_two_look_ups_are_enough(bench: Bench) -> None:
    bench.job()
    restart(bench)
    bench.store.attempts.claim_due(10)
    bench.forward(600)
    bench.store.attempts.admit(1)
    bench.store.attempts.claim(["fox"])
    assert look_up(bench) <= 4


def test_a_job_found_after_a_restart_is_adopted(bench: Bench) -> None:
    bench.job()
    restart(bench)
    bench.store.attempts.admit(1)
    bench.store.attempts.claim(["fox"])
    due = bench.due()
    assert bench.store.attempts.mark_in_progress("fox", due.job.fence, "t")
    job = bench.store.jobs.get("fox")
    assert (job.state, job.forgotten) == (State.IN_PROGRESS, False)


def test_jobs_accepted_well_after_a_restart_are_sent_at_once(bench: Bench) -> None:
    restart(bench)
    bench.store.attempts.claim_due(10)
    bench.job("retried")  # the producer may repeat a job whose record was lost
    bench.forward(bench.store.context.settings.submit_lease + 1)
    bench.job("new")
    bench.store.attempts.admit(2)
    assert [claim.id for claim in bench.store.attempts.claim(["retried", "new"])] == ["new"]


def test_a_restart_resets_the_look_ups_of_a_job_in_doubt(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    bench.store.attempts.reschedule_lookup(bench.due(), 100.0)
    bench.forward(99)
    restart(bench)
    due = bench.due()
    # It was looked up in vain for long, but it may have been sent again in the lost time
    assert (due.job.lookups, due.doubtful_for < 0) == (0, True)
    bench.store.attempts.reschedule_lookup(due, 1.0)
    assert bench.due().job.lookups == 1


def test_after_a_restart_doubt_begins_at_the_end_of_a_lease(bench: Bench) -> None:
    bench.claimed()
    restart(bench)
    bench.forward(bench.store.context.settings.submit_lease)
    due = bench.due()
    assert due.job.forgotten
    assert due.doubtful_for <= 0


def test_the_next_attempt_of_a_job_from_before_a_restart_is_looked_up(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS)
    restart(bench)
    bench.store.attempts.finish("fox", State.FAILED, AGAIN, "poll", fence=bench.due().job.fence)
    bench.forward(10)
    bench.store.attempts.claim_due(10)
    bench.store.attempts.admit(1)
    assert bench.store.attempts.claim(["fox"]) == []
    assert bench.store.jobs.get("fox").external_task_id == "fox~2"
    look_up(bench)
    bench.store.attempts.admit(1)
    assert [claim.external_task_id for claim in bench.store.attempts.claim(["fox"])] == ["fox~2"]


def test_each_restart_causes_new_look_ups(bench: Bench) -> None:
    bench.job()
    for _ in range(2):
        restart(bench)
        bench.store.attempts.admit(1)
        assert bench.store.attempts.claim(["fox"]) == []
        look_up(bench)
    bench.store.attempts.admit(1)
    assert len(bench.store.attempts.claim(["fox"])) == 1


def test_fencing_tokens_of_the_lost_time_are_not_reused(bench: Bench) -> None:
    lost = bench.claimed().fence + 1  # a worker had this one next, before Redis lost it
    bench.store.attempts.requeue("fox", bench.store.jobs.get("fox").fence, "429")
    restart(bench)
    bench.store.attempts.admit(1)
    bench.store.attempts.claim(["fox"])
    assert bench.store.attempts.requeue("fox", lost, "429") == "refused"
    assert bench.store.jobs.get("fox").fence > lost


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_after_a_recovery_a_result_for_a_queued_job_counts(bench: Bench, state: State) -> None:
    bench.job()
    result = Result(error={"code": "1201", "message": "refused"}) if state is State.FAILED else Result()
    assert bench.store.attempts.finish("fox", state, result, "callback").outcome == "unknown"
    bench.store.continuity.recover()
    assert bench.store.attempts.finish("fox", state, result, "callback").outcome == "finished"
    assert bench.store.jobs.get("fox").state is state
    assert audit(bench.store) == []


def test_after_a_recovery_a_callback_puts_a_queued_job_in_doubt(bench: Bench) -> None:
    bench.job()
    assert bench.store.attempts.record_callback("fox", needs_lookup=True).outcome == "unknown"
    bench.store.continuity.recover()
    assert bench.store.attempts.record_callback("fox", needs_lookup=True).outcome == "noted"
    assert bench.store.jobs.get("fox").state is State.IN_DOUBT


def test_without_recovery_only_the_command_begins_an_epoch(bench: Bench) -> None:
    store = bench.with_settings(recovery=False)
    bench.job()
    restart(bench)
    assert store.attempts.claim_due(10).epoch == 0
    epoch = store.continuity.recover(also_new=3600)
    assert epoch.number == 1
    assert (epoch.lookup_before - epoch.since).total_seconds() == 3600
    bench.forward(3599)
    bench.job("new")
    store.attempts.admit(10)
    assert store.attempts.claim(["fox", "new"]) == []


def test_a_job_found_at_another_account_moves_there_with_its_slots(bench: Bench) -> None:
    store = bench.with_settings(named_lanes=(LaneSettings(name="a"), LaneSettings(name="b")))
    a, _ = store.context.settings.lanes
    bench.job(pool=a.pool, n=2)
    restart(bench)
    assert store.attempts.admit(1, a).ids == ("fox",)
    store.attempts.claim(["fox"])
    due = bench.due()
    for _ in range(2):  # once more, as after a lost reply
        assert store.attempts.move_to_lane(due, "b")
    assert [lane.slots for lane in store.lanes.get_all()] == [0, 2]
    assert store.attempts.mark_in_progress("fox", due.job.fence, "t")
    assert store.jobs.get("fox").lane == "b"
    assert audit(store) == []
    assert not store.attempts.move_to_lane(due, "a")


def test_a_move_with_an_older_fencing_token_is_refused(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.attempts.mark_in_doubt("fox", claim.fence, "read timed out")
    due = bench.due()
    bench.forward(60)
    bench.due()
    assert not bench.store.attempts.move_to_lane(due, "b")


def test_work_continues_on_a_redis_that_hides_its_process(bench: Bench, redis_url: str) -> None:
    # Given a user that may not call INFO
    bench.raw.acl_setuser("quiet", enabled=True, nopass=True, commands=["-info"], categories=["+@all"], keys=["*"])
    with closing(connect(redis_url.replace("://:", "://quiet:"))) as client:
        store = Store(client, bench.store.context.settings, clock=CLOCK)
        bench.job()
        store.attempts.admit(1)
        # Then work continues, and the totals state that restarts are not noticed
        assert [claim.id for claim in store.attempts.claim(["fox"])] == ["fox"]
        assert store.statistics.totals().sees_restarts is False
        # An operator can still begin an epoch
        store.continuity.recover()
        assert bench.store.statistics.totals().epoch == 1
        # Once INFO is allowed again, an unnoticed restart may have happened meanwhile
        bench.store.attempts.claim(["absent"])
        totals = bench.store.statistics.totals()
        assert (totals.epoch, totals.sees_restarts) == (2, True)
    bench.raw.acl_deluser("quiet")
