"""Redis may have forgotten: after a restart or a failover, what waits is looked up before it is sent."""

from contextlib import closing

import pytest

from jobs.audit.audit import audit
from jobs.job import Result
from jobs.lanes import LaneSettings
from jobs.policy import absent_beyond_doubt
from jobs.states import State
from jobs.store.store import Store, connect
from tests.support.bench import CLOCK, Bench

AGAIN = Result(error={"code": "002016095", "message": "internal"})


def restart(bench: Bench) -> None:
    """Redis is another process now than the one that was last seen."""
    bench.store.claim(["nobody"])  # this one is known
    bench.raw.hset(bench.keys.singleton("epoch"), "run", "another")


def looks(bench: Bench, job_id: str = "fox") -> float:
    """Look for the job in vain until it is absent beyond doubt; returns after how many seconds."""
    begun = bench.now
    while True:
        due = bench.due(job_id)
        if absent_beyond_doubt(due.job.lookups + 1, due.doubtful_for, bench.store.settings):
            assert bench.store.requeue(job_id, due.job.fence, "absent") == "queued"
            return float(bench.now - begun) / 1e6
        bench.store.reschedule_lookup(due, 2.0)


def test_the_first_sight_of_a_redis_is_no_restart(bench: Bench) -> None:
    assert bench.claimed().id == "fox"
    assert bench.store.claim_due(10).epoch == 0


def test_what_waits_is_looked_up_before_it_is_sent_once(bench: Bench) -> None:
    bench.job()
    restart(bench)
    assert bench.store.admit(1).ids == ("fox",)
    assert bench.store.claim(["fox"]) == []
    job = bench.store.get("fox")
    assert (job.state, job.forgotten, bench.alarm("fox")) == (State.IN_DOUBT, True, 0)
    assert "Redis" in job.reason
    # As long as a worker may still send what it claimed in the time that is forgotten, no look counts
    settings = bench.store.settings
    assert (
        settings.submit_lease + settings.lookup_grace
        <= looks(bench)
        <= settings.submit_lease + 2 * settings.lookup_grace
    )
    assert bench.claimed("fox").attempt == 1
    assert not bench.store.get("fox").forgotten
    assert audit(bench.store) == []


def test_later_two_looks_do(bench: Bench) -> None:
    bench.job()
    restart(bench)
    bench.store.claim_due(10)
    bench.forward(600)
    bench.store.admit(1)
    bench.store.claim(["fox"])
    assert looks(bench) <= 4


def test_a_job_that_is_found_is_adopted(bench: Bench) -> None:
    bench.job()
    restart(bench)
    bench.store.admit(1)
    bench.store.claim(["fox"])
    due = bench.due()
    assert bench.store.mark_in_progress("fox", due.job.fence, "t")
    job = bench.store.get("fox")
    assert (job.state, job.forgotten) == (State.IN_PROGRESS, False)


def test_jobs_accepted_well_after_it_go_at_once(bench: Bench) -> None:
    restart(bench)
    bench.store.claim_due(10)
    bench.job("retried")  # its producer's answer may have been lost with the record
    bench.forward(bench.store.settings.submit_lease + 1)
    bench.job("new")
    bench.store.admit(2)
    assert [claim.id for claim in bench.store.claim(["retried", "new"])] == ["new"]


def test_a_doubt_from_before_begins_anew(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.mark_in_doubt("fox", claim.fence, "read timed out")
    bench.store.reschedule_lookup(bench.due(), 100.0)
    bench.forward(99)
    restart(bench)
    due = bench.due()
    # Looked for in vain for long, but it may have been sent again in the time that is forgotten
    assert (due.job.lookups, due.doubtful_for < 0) == (0, True)
    bench.store.reschedule_lookup(due, 1.0)
    assert bench.due().job.lookups == 1


def test_a_lease_from_before_leads_to_looks_that_count_from_its_end(bench: Bench) -> None:
    bench.claimed()
    restart(bench)
    bench.forward(bench.store.settings.submit_lease)
    due = bench.due()
    assert due.job.forgotten
    assert due.doubtful_for <= 0


def test_the_next_attempt_of_a_job_from_before_is_looked_up_too(bench: Bench) -> None:
    bench.put(State.IN_PROGRESS)
    restart(bench)
    bench.store.finish("fox", State.FAILED, AGAIN, "poll", fence=bench.due().job.fence)
    bench.forward(10)
    bench.store.claim_due(10)
    bench.store.admit(1)
    assert bench.store.claim(["fox"]) == []
    assert bench.store.get("fox").external_task_id == "fox~2"
    looks(bench)
    bench.store.admit(1)
    assert [claim.external_task_id for claim in bench.store.claim(["fox"])] == ["fox~2"]


def test_each_epoch_doubts_anew(bench: Bench) -> None:
    bench.job()
    for _ in range(2):
        restart(bench)
        bench.store.admit(1)
        assert bench.store.claim(["fox"]) == []
        looks(bench)
    bench.store.admit(1)
    assert len(bench.store.claim(["fox"])) == 1


def test_fences_of_the_forgotten_time_do_not_come_again(bench: Bench) -> None:
    forgotten = bench.claimed().fence + 1  # the next that a worker had, before Redis lost it
    bench.store.requeue("fox", bench.store.get("fox").fence, "429")
    restart(bench)
    bench.store.admit(1)
    bench.store.claim(["fox"])
    assert bench.store.requeue("fox", forgotten, "429") == "refused"
    assert bench.store.get("fox").fence > forgotten


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_a_callback_for_a_job_that_redis_believes_unsent_counts(bench: Bench, state: State) -> None:
    bench.job()
    result = Result(error={"code": "1201", "message": "refused"}) if state is State.FAILED else Result()
    assert bench.store.finish("fox", state, result, "callback").outcome == "unknown"
    bench.store.recover()
    assert bench.store.finish("fox", state, result, "callback").outcome == "finished"
    assert bench.store.get("fox").state is state
    assert audit(bench.store) == []


def test_a_hint_by_the_provider_for_such_a_job_counts(bench: Bench) -> None:
    bench.job()
    assert bench.store.record_callback("fox", look=True).outcome == "unknown"
    bench.store.recover()
    assert bench.store.record_callback("fox", look=True).outcome == "noted"
    assert bench.store.get("fox").state is State.IN_DOUBT


def test_switched_off_a_restart_is_no_loss_but_the_command_is(bench: Bench) -> None:
    store = bench.with_settings(recovery=False)
    bench.job()
    restart(bench)
    assert store.claim_due(10).epoch == 0
    epoch = store.recover(also_new=3600)
    assert epoch.number == 1
    assert (epoch.doubted_before - epoch.since).total_seconds() == 3600
    bench.forward(3599)
    bench.job("new")
    store.admit(10)
    assert store.claim(["fox", "new"]) == []


def test_a_job_found_at_another_account_of_its_pool_goes_there_with_its_slots(bench: Bench) -> None:
    store = bench.with_settings(named_lanes=(LaneSettings(name="a"), LaneSettings(name="b")))
    a, _ = store.settings.lanes
    bench.job(pool=a.pool, n=2)
    restart(bench)
    assert store.admit(1, a).ids == ("fox",)
    store.claim(["fox"])
    due = bench.due()
    for _ in range(2):  # its reply may get lost
        assert store.move_to_lane(due, "b")
    assert [lane.slots for lane in store.lanes()] == [0, 2]
    assert store.mark_in_progress("fox", due.job.fence, "t")
    assert store.get("fox").lane == "b"
    assert audit(store) == []
    assert not store.move_to_lane(due, "a")


def test_a_refused_move_to_another_account(bench: Bench) -> None:
    claim = bench.claimed()
    bench.store.mark_in_doubt("fox", claim.fence, "read timed out")
    due = bench.due()
    bench.forward(60)
    bench.due()
    assert not bench.store.move_to_lane(due, "b")


def test_a_redis_that_does_not_tell_who_it_is(bench: Bench, redis_url: str) -> None:
    # Given a user that may do all but ask
    bench.raw.acl_setuser("quiet", enabled=True, nopass=True, commands=["-info"], categories=["+@all"], keys=["*"])
    with closing(connect(redis_url.replace("://:", "://quiet:"))) as client:
        store = Store(client, bench.store.settings, clock=CLOCK)
        bench.job()
        store.admit(1)
        # Then work goes on, and it is known that restarts are not seen
        assert [claim.id for claim in store.claim(["fox"])] == ["fox"]
        assert store.totals().sees_restarts is False
        # until somebody says so
        store.recover()
        assert bench.store.totals().epoch == 1
        # When it may ask again, it may have been another one meanwhile
        bench.store.claim(["nobody"])
        totals = bench.store.totals()
        assert (totals.epoch, totals.sees_restarts) == (2, True)
    bench.raw.acl_deluser("quiet")
