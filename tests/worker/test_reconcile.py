"""boomerang.reconcile: after any single fault, the job ends and is paid for once."""

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from jobs.new_job import NewJob
from jobs.owners import ANYONE
from jobs.result import Result
from jobs.settings import Ambiguous
from jobs.states import State
from jobs.store.manual import Verdict
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld, RequestOf

WaitFor = Callable[..., None]
PRICE = Decimal("0.013")


def _paid_once(w: Any, simulator: Simulator, jobs: int = 1) -> None:
    """Assert that each job was bought once, and that the spending counted equals the provider's ledger."""
    tasks, twice, spent = simulator.bought()
    assert (tasks, twice) == (jobs, 0)
    assert w.lane_counters() == (0, 0, Decimal(spent)) == (0, 0, jobs * PRICE)
    assert w.redis.zcard("{b}:alarms") == 0


def test_a_result_is_never_fetched(world: MakeWorld, simulator: Simulator) -> None:
    """The service passes the image's URL on and does not request it."""
    w = world()
    w.start()
    assert w.settle().result.output[0]["url"].startswith(simulator.url)
    assert simulator.calls("image") == 0


def test_polling_alone_brings_the_result(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.start()
    job = w.settle()
    assert (job.state, job.settled_by, job.result.cost) == (State.COMPLETED, "poll", PRICE)
    assert job.result.output[0]["url"].startswith(simulator.url)
    assert w.states() == ["queued", "submitting", "in_progress", "completed"]
    _paid_once(w, simulator)


# --- workers and messages that are lost -----------------------------------------------------------------------------


def test_a_worker_killed_before_the_post_leaves_a_job_that_is_sent_once(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    w.store.attempts.claim(["job-1"])
    w.ahead(61)
    w.reconciler()
    assert w.job().state is State.IN_DOUBT
    assert "lease" in w.job().reason
    # The task may exist and not be visible yet: nothing is sent before two look-ups and the grace period
    w.round(4)
    assert simulator.calls("submit") == 0
    assert w.settle(seconds=6).state is State.COMPLETED
    assert simulator.calls("submit") == 1
    assert simulator.calls("look.absent") >= 2
    _paid_once(w, simulator)


def test_a_worker_killed_after_the_post_leaves_a_task_that_is_adopted(
    world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    w = world()
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    (claim,) = w.store.attempts.claim(["job-1"])
    w.provider.submit(a_request(), claim.external_task_id)  # the answer is not recorded
    w.ahead(61)
    w.reconciler()
    assert w.settle().state is State.COMPLETED
    assert simulator.calls("submit") == 1
    _paid_once(w, simulator)


def test_a_message_that_the_broker_lost_is_sent_again(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.enqueue("job-1")
    w.reconciler()
    assert w.messages_in("boomerang.submit") == 1
    w.redis.delete("boomerang.submit")
    w.reconciler()
    assert w.messages_in("boomerang.submit") == 0  # not yet: the first message may still arrive
    w.ahead(31)
    w.reconciler()
    assert w.run_submits() == 1
    assert w.settle().state is State.COMPLETED
    _paid_once(w, simulator)


def test_all_messages_of_an_emptied_broker_are_sent_again(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    ids = [f"job-{n}" for n in range(1000)]
    for start in range(0, 1000, 250):
        w.enqueue(*ids[start : start + 250])
    w.reconciler()
    assert w.redis.delete("boomerang.submit") == 1
    w.ahead(31)
    w.reconciler()
    w.reconciler()
    assert w.messages_in("boomerang.submit") == 1000 / w.settings.group


def test_reconcile_completes_a_batch_cancellation_that_was_killed(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    jobs = [NewJob(id=f"job-{n}", text="{}", model="m") for n in range(3)]
    w.store.jobs.enqueue(jobs, "b")
    w.store.context.scripts.call("begin_sweep", "b", "cancel", "", "0", ANYONE, "")  # the process ends after this step
    w.reconciler()
    assert {w.job(f"job-{n}").state for n in range(3)} == {State.CANCELLED}
    assert w.store.batches.get("b").done
    assert simulator.calls("submit") == 0


# --- what the provider does to a submission -------------------------------------------------------------------------

#: fault → (the simulator's settings, whether the first POST buys a task)
FAULTS: dict[str, tuple[dict[str, Any], bool]] = {
    "read time-out, executed": ({"lost_answers": 1, "hang": 3}, True),
    "reset, executed": ({"lost_answers": 1}, True),
    "reset, not executed": ({"cut_before": 1}, False),
    "5xx, executed": ({"error_after": 1}, True),
    "5xx, not executed": ({"error_before": 1}, False),
    "redirect": ({"redirect": 1}, False),
    "truncated JSON": ({"truncated": 1}, True),
    "an unknown id": ({"wrong_id": 1}, True),
    "drip": ({"drip": 1, "drip_seconds": 5}, True),
    "200 MB": ({"huge": 1}, True),
    "gzip bomb": ({"gzip_bomb": 1}, True),
    "200 without id": ({"no_id": 1}, False),
    "429": ({"throttle": 1}, False),
    "key": ({"account": "401"}, False),
    "outage": ({"outage": "503"}, False),
    "connections cut": ({"outage": "cut"}, False),
}


@pytest.mark.parametrize(("faults", "buys"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("duplicates", ["conflict", "unnoticed"])
def test_each_submission_fault_ends_with_one_purchase(
    faults: dict[str, Any], buys: bool, duplicates: str, world: MakeWorld, simulator: Simulator
) -> None:
    w = world(read_timeout=0.5)
    simulator.turn(duplicates=duplicates, **faults)
    w.start()
    assert w.job().state is not State.FAILED
    assert simulator.bought()[0] == int(buys)
    simulator.turn(**dict.fromkeys(faults, 0) | {"outage": "off", "account": "ok"})
    job = w.settle(seconds=20)
    assert (job.state, job.attempt, job.external_task_id) == (State.COMPLETED, 1, "job-1")
    # A bought task is adopted
    assert simulator.calls("submit") == (1 if buys else 2)
    _paid_once(w, simulator)


@pytest.mark.parametrize("name", ["job-1", "job-2", "job-3", "job-4"])
def test_an_html_answer_ends_with_one_purchase(name: str, world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(html=1)
    w.start(name)
    assert w.job(name).state is State.IN_DOUBT
    created = simulator.bought()[0]
    simulator.turn(html=0)
    assert w.settle(name).state is State.COMPLETED
    assert simulator.calls("submit") == 2 - created
    _paid_once(w, simulator)


@pytest.mark.parametrize("duplicates", ["conflict", "kling", "words"])
def test_a_task_that_the_provider_already_has_is_adopted(
    duplicates: str, world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    w = world()
    simulator.turn(duplicates=duplicates)
    w.provider.submit(a_request(), "job-1")
    w.start()
    assert (w.job().state, w.job().exists) == (State.IN_DOUBT, True)
    assert w.settle().attempt == 1
    assert simulator.bought()[:2] == (1, 0)
    _paid_once(w, simulator)


def test_a_duplicate_that_no_look_up_finds_is_never_sent_again(
    world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    w = world()
    w.provider.submit(a_request(), "job-1")
    simulator.turn(lookup_lag=10_000, status_lag=10_000)
    w.start()
    for _ in range(10):
        w.round(40)
    assert w.job().state is State.IN_DOUBT
    assert simulator.calls("submit") == 2  # the earlier one and this job's


def test_a_duplicate_that_no_look_up_finds_is_settled_by_the_providers_id(
    world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    w = world()
    bought = w.provider.submit(a_request(), "job-1")
    simulator.turn(lookup_lag=10_000)
    w.start()
    w.round(40)
    assert w.job().state is State.IN_DOUBT
    assert w.store.manual.settle(w.job(), Verdict.SENT, task_id=bought.task_id).outcome == "settled"
    assert w.settle().state is State.COMPLETED
    assert simulator.calls("submit") == 2  # the earlier one and this job's
    _paid_once(w, simulator)


def test_a_task_that_appears_late_is_found(world: MakeWorld, simulator: Simulator, wait_for: WaitFor) -> None:
    """The POST times out, and the task appears 1.5 s later, by the simulator's wall clock."""
    w = world(lookup_grace=2.5, read_timeout=0.3)
    simulator.turn(ghost=1.5, hang=0.5, duplicates="unnoticed")
    w.start()
    simulator.turn(ghost=0)
    assert (w.job().state, simulator.bought()[0]) == (State.IN_DOUBT, 0)
    wait_for(lambda: (w.catch_up(), w.round(0), w.job().state.final)[-1])
    assert simulator.calls("submit") == 1
    assert simulator.calls("look.absent") >= 1
    _paid_once(w, simulator)


def test_a_task_that_look_ups_find_late_is_not_sent_again(
    world: MakeWorld, simulator: Simulator, wait_for: WaitFor
) -> None:
    w = world(lookup_grace=2.5)
    simulator.turn(error_after=1, lookup_lag=1.0, duplicates="unnoticed")
    w.start()
    wait_for(lambda: (w.catch_up(), w.round(0), w.job().state.final)[-1])
    assert simulator.fired("lookup_lag") >= 1
    assert simulator.calls("submit") == 1
    _paid_once(w, simulator)


def test_nothing_is_sent_again_while_look_ups_fail(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(error_after=1, status_down=1, duplicates="unnoticed")
    w.start()
    for _ in range(20):
        w.round(40)
    assert w.job().state is State.IN_DOUBT
    assert simulator.calls("submit") == 1
    assert simulator.fired("status_down") >= 10
    simulator.turn(status_down=0)
    assert w.settle(seconds=40).state is State.COMPLETED
    _paid_once(w, simulator)


# --- no look-ups ----------------------------------------------------------------------------------------------------


def test_without_look_ups_a_doubtful_job_is_held_for_a_person(world: MakeWorld, simulator: Simulator) -> None:
    w = world(lookup_path=None)
    simulator.turn(error_before=1)
    w.start()
    for _ in range(5):
        w.round(301)
    job = w.job()
    assert job.state is State.IN_DOUBT
    assert "BOOMERANG_LOOKUP_PATH" in job.reason
    assert (simulator.calls("submit"), simulator.calls("look")) == (1, 0)
    # The job keeps its alarm, and a callback still ends it
    assert w.alarm_in() is not None
    w.store.attempts.finish(
        "job-1", State.COMPLETED, Result(output=({"type": "image", "url": "https://x/1"},)), "callback"
    )
    assert w.job().state is State.COMPLETED


@pytest.mark.parametrize("arrived", [True, False], ids=["it arrived", "it did not"])
def test_a_person_settles_a_held_job_with_one_verdict(world: MakeWorld, simulator: Simulator, arrived: bool) -> None:
    w = world(lookup_path=None)
    simulator.turn(**{"error_after" if arrived else "error_before": 1})
    w.start()
    simulator.turn(error_after=0, error_before=0)
    w.round(301)
    assert w.job().state is State.IN_DOUBT
    assert w.lane_counters()[0] == 1
    # The person reads the provider's console
    (task,) = simulator.get("/_sim/ledger")["purchases"] if arrived else (None,)
    verdict = Verdict.SENT if arrived else Verdict.NOT_SENT
    w.store.manual.settle(w.job(), verdict, task_id=task["task_id"] if task else "")
    assert w.settle().state is State.COMPLETED
    assert simulator.calls("submit") == (1 if arrived else 2)
    assert w.lane_counters()[0] == 0
    _paid_once(w, simulator)


def test_without_look_ups_a_doubtful_job_is_sent_again_where_that_is_configured(
    world: MakeWorld, simulator: Simulator
) -> None:
    w = world(lookup_path=None, ambiguous=Ambiguous.RESEND)
    simulator.turn(error_before=1)
    w.start()
    simulator.turn(error_before=0)
    w.round(4)
    assert simulator.calls("submit") == 1  # the grace period applies here too
    assert w.settle(seconds=11).state is State.COMPLETED
    assert (w.job().external_task_id, simulator.calls("submit")) == ("job-1", 2)
    _paid_once(w, simulator)


def test_without_look_ups_a_task_is_polled_by_the_providers_id(world: MakeWorld, simulator: Simulator) -> None:
    w = world(lookup_path=None)
    w.start()
    assert w.settle().state is State.COMPLETED
    _paid_once(w, simulator)


# --- attempts -------------------------------------------------------------------------------------------------------


def test_a_transient_failure_gets_another_attempt_under_a_new_id(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(fail=1)
    w.start()
    simulator.turn(fail=0)
    job = w.settle()
    assert (job.state, job.attempt, job.external_task_id) == (State.COMPLETED, 2, "job-1~2")
    tasks, twice, spent = simulator.bought()
    assert (tasks, twice, Decimal(spent)) == (2, 0, PRICE)  # the failed attempt cost nothing
    assert w.lane_counters()[2] == PRICE


def test_attempts_are_limited(world: MakeWorld, simulator: Simulator) -> None:
    w = world(max_attempts=3)
    simulator.turn(fail=1, bill_failures=1)
    w.start()
    job = w.settle(seconds=30)
    assert (job.state, job.attempt, job.settled_by) == (State.FAILED, 3, "poll")
    assert job.result.error["code"].startswith("00201609")
    tasks, _, spent = simulator.bought()
    assert tasks == 3
    assert w.lane_counters()[2] == Decimal(spent) == 3 * PRICE  # failed attempts count where the provider charges them


def test_a_permanent_failure_gets_no_other_attempt(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(fail_permanent=1)
    w.start()
    job = w.settle()
    assert (job.state, job.attempt, job.result.error["code"]) == (State.FAILED, 1, "1301")
    assert simulator.calls("submit") == 1


def test_a_late_contradiction_changes_nothing(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.start()
    w.settle()
    finished = w.store.attempts.finish("job-1", State.FAILED, Result(error={"code": "1", "message": "x"}), "callback")
    assert finished.outcome == "contradicted"
    assert w.job().state is State.COMPLETED
    assert w.store.statistics.totals().contradicted == 1


# --- polling --------------------------------------------------------------------------------------------------------


def test_polls_back_off_and_never_stop(world: MakeWorld, simulator: Simulator) -> None:
    w = world(poll_first=5.0, poll_max=20.0)
    simulator.turn(latency="1000")
    w.start()
    waits = []
    for _ in range(8):
        waits.append(w.alarm_in())
        w.round(waits[-1] + 0.001)
    assert simulator.calls("look") == 8
    assert waits[0] == pytest.approx(5, abs=0.5)
    assert all(4.9 <= wait <= 20 for wait in waits)
    assert all(wait >= 9.9 for wait in waits[3:])
    # No poll between two alarms
    w.round(1)
    assert simulator.calls("look") == 8


def test_a_failed_poll_does_not_fail_the_job(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.start()
    simulator.turn(status_down=1)
    for _ in range(5):
        w.round(40)
    assert w.job().state is State.IN_PROGRESS
    assert "poll" in w.job().reason
    simulator.turn(status_down=0)
    assert w.settle(seconds=40).state is State.COMPLETED
    assert w.job().reason is None


def test_a_poll_that_the_account_refuses_holds_the_lane(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.start()
    simulator.turn(account="402")
    w.round(6)
    assert w.held_for() > 0
    assert w.job().state is State.IN_PROGRESS
    simulator.turn(account="ok")
    assert w.settle(seconds=40).state is State.COMPLETED
    _paid_once(w, simulator)


def test_concurrent_rounds_poll_each_job_once(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(latency="1000")
    w.start(*(f"job-{n}" for n in range(50)))
    w.ahead(6)
    rounds = [threading.Thread(target=w.reconciler) for _ in range(4)]
    for each in rounds:
        each.start()
    for each in rounds:
        each.join(20)
    assert simulator.calls("look") == 50


# --- giving up ------------------------------------------------------------------------------------------------------


def test_a_last_poll_after_the_deadline_takes_the_result(world: MakeWorld, simulator: Simulator) -> None:
    w = world(deadline=3600.0)
    w.start()
    w.round(3601)
    assert w.states()[-1] == "completed"
    _paid_once(w, simulator)


def test_a_late_result_completes_an_expired_job(world: MakeWorld, simulator: Simulator, wait_for: WaitFor) -> None:
    w = world(deadline=3600.0)
    simulator.turn(latency="0.5")
    w.start()
    w.round(3601)
    job = w.job()
    assert (job.state, job.settled_by) == (State.EXPIRED, "deadline")
    assert w.lane_counters()[0] == 1  # the provider is still working on it
    wait_for(lambda: simulator.get("/_sim/tasks?external_task_id=job-1")["tasks"][0]["status"] == "completed")
    w.round(31)
    assert w.job().state is State.COMPLETED
    assert w.states()[-2:] == ["expired", "completed"]
    _paid_once(w, simulator)


def test_no_job_expires_while_polls_fail(world: MakeWorld, simulator: Simulator) -> None:
    w = world(deadline=3600.0)
    w.start()
    simulator.turn(status_down=1)
    w.round(3601)
    w.round(40)
    assert w.job().state is State.IN_PROGRESS
    simulator.turn(status_down=0)
    assert w.settle(seconds=40).state is State.COMPLETED


def test_a_task_that_the_provider_forgot_is_given_up(world: MakeWorld, simulator: Simulator) -> None:
    w = world(deadline=3600.0, poll_max=30.0)
    w.start()
    simulator.turn(lookup_lag=1e9, status_lag=1e9)
    w.round(3601)
    assert w.job().state is State.EXPIRED
    w.round(3601)
    w.round(40)
    assert w.lane_counters()[0] == 0
    assert w.redis.zcard("{b}:alarms") == 0


@pytest.mark.parametrize("notify", [False, True])
def test_a_cancelled_jobs_late_result_is_recorded_with_its_cost(
    notify: bool, world: MakeWorld, simulator: Simulator, wait_for: WaitFor
) -> None:
    # A failing notification must not occupy the slot either
    w = world(allow_private_hosts=True)
    simulator.turn(latency="0.3")
    w.start(**({"callback_url": "http://127.0.0.1:1/dead"} if notify else {}))
    w.store.jobs.cancel("job-1")
    assert (w.job().state, w.lane_counters()[0]) == (State.CANCELLED, 1)
    wait_for(lambda: simulator.get("/_sim/tasks?external_task_id=job-1")["tasks"][0]["status"] == "completed")
    for _ in range(5):
        w.deliverer(["job-1"])
        w.round(31)
        w.round(1)
    job = w.job()
    assert (job.state, job.result.cost) == (State.CANCELLED, PRICE)
    assert w.lane_counters()[0] == 0
    assert w.lane_counters()[2] == PRICE


def test_a_job_cancelled_in_doubt_is_never_sent_again(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(error_before=1)
    w.start()
    w.store.jobs.cancel("job-1")
    for _ in range(5):
        w.round(20)
    assert w.job().state is State.CANCELLED
    assert simulator.calls("submit") == 1
    assert w.lane_counters()[0] == 0
    assert w.redis.zcard("{b}:alarms") == 0


def test_jobs_are_purged_after_their_retention(world: MakeWorld, simulator: Simulator) -> None:
    w = world(retention=3600.0)
    w.start()
    w.settle()
    w.round(3700)
    assert w.store.jobs.get_many(["job-1"]) == [None]
