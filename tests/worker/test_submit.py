"""boomerang.submit: claim, POST, record, with a real store, a simulator over HTTP and one fault at a time."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest

from jobs.result import Result
from jobs.states import State
from tests.support.raw_server import RawServer, respond
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld

WaitFor = Callable[..., None]


def test_a_submission_is_recorded_with_the_providers_id_and_the_first_poll(
    world: MakeWorld, simulator: Simulator
) -> None:
    w = world(poll_first=7.0)
    w.start()
    job = w.job()
    (task,) = simulator.get("/_sim/tasks?external_task_id=job-1")["tasks"]
    assert (job.state, job.task_id, job.attempt) == (State.IN_PROGRESS, task["id"], 1)
    assert w.states() == ["queued", "submitting", "in_progress"]
    assert w.alarm_in() == pytest.approx(7, abs=1)
    assert w.store.lanes.get().slots == 1


@pytest.mark.slow
def test_the_jobs_of_a_message_are_sent_concurrently(world: MakeWorld) -> None:
    ids = [f"job-{n}" for n in range(8)]
    # Given a provider that answers none before all are there
    all_there = threading.Barrier(len(ids))
    created = respond(200, b'{"id": "t1", "status": "in_progress"}')

    def answer(connection: socket.socket) -> bool | None:
        with suppress(threading.BrokenBarrierError):
            all_there.wait(15)
            return created(connection)
        return True

    with closing(RawServer(answer)) as provider:
        w = world(provider.url, read_timeout=20.0)
        w.start(*ids)
    assert {w.job(job_id).state for job_id in ids} == {State.IN_PROGRESS}


def test_a_message_delivered_five_times_is_submitted_once(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(slow=0.2)
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    threads = [threading.Thread(target=w.submitter, args=(["job-1"],)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    w.submitter(["job-1"])
    assert simulator.calls("submit") == 1
    assert w.job().state is State.IN_PROGRESS


def test_a_cancelled_job_is_not_sent(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.enqueue("job-1", "job-2")
    w.store.attempts.admit(2)
    w.store.jobs.cancel("job-1")
    assert w.submitter(["job-1", "job-2", "unknown"])[0].id == "job-2"
    assert [each["external_task_id"] for each in simulator.get("/_sim/ledger")["purchases"]] == ["job-2"]


def test_a_callback_may_arrive_before_the_answer(world: MakeWorld, simulator: Simulator, wait_for: WaitFor) -> None:
    w = world(read_timeout=5.0)
    simulator.turn(slow=1)
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    thread = threading.Thread(target=w.submitter, args=(["job-1"],))
    thread.start()
    wait_for(lambda: w.job().state is State.SUBMITTING)
    w.store.attempts.finish(
        "job-1", State.COMPLETED, Result(output=({"type": "image", "url": "https://x/1"},)), "callback"
    )
    thread.join(10)
    # The answer "in progress" comes after the end and changes nothing
    assert (w.job().state, w.job().settled_by) == (State.COMPLETED, "callback")
    assert w.states() == ["queued", "submitting", "completed"]
    assert w.alarm_in() is None
    assert w.store.lanes.get().slots == 0


def test_an_answer_that_comes_after_the_lease_is_refused(
    world: MakeWorld, simulator: Simulator, wait_for: WaitFor
) -> None:
    w = world(read_timeout=5.0)
    simulator.turn(slow=0.6)
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    thread = threading.Thread(target=w.submitter, args=(["job-1"],))
    thread.start()
    wait_for(lambda: simulator.calls("submit") == 1)
    # The lease ends during the POST: reconcile takes the job over and raises the fencing token
    w.ahead(61)
    w.reconciler()
    assert w.job().state is State.IN_DOUBT
    thread.join(10)
    assert w.job().state is State.IN_DOUBT
    assert w.settle().state is State.COMPLETED
    assert simulator.bought()[:2] == (1, 0)


def test_a_worker_paused_between_claim_and_post_does_not_send(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    # Given a process that was stopped after the claim until its lease had nearly ended
    times = iter([0.0, 59.0])
    w.submitter._clock = lambda: next(times)
    w.start()
    assert simulator.calls("submit") == 0
    # The next worker sends the job once
    w.submitter._clock = time.monotonic
    w.submit()
    assert w.job().state is State.IN_PROGRESS
    assert simulator.bought()[:2] == (1, 0)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_refused_job_fails_with_the_providers_code(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.redis.set("{b}:t:job-1", "")
    w.enqueue("job-1")
    w.redis.set("{b}:t:job-1", '{"model":"kirin_image_omni","params":{"prompt":"x","n":99}}')
    w.submit()
    job = w.job()
    assert (job.state, job.settled_by, job.attempt) == (State.FAILED, "submit", 1)
    assert job.result.error["code"] == "002016003"
    assert w.alarm_in() is None


def test_an_unreadable_record_fails_its_job_and_no_other(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.enqueue("job-1", "job-2", "job-3", "job-4")
    w.redis.delete("{b}:t:job-1")
    w.redis.set("{b}:t:job-2", '{"model":"kirin_image_omni"}')
    w.submit()
    for job_id in ("job-1", "job-2"):
        assert w.job(job_id).state is State.FAILED
        assert "cannot be read" in w.job(job_id).result.error["message"]
    assert {w.job(job_id).state for job_id in ("job-3", "job-4")} == {State.IN_PROGRESS}
    assert simulator.calls("submit") == 2


def test_an_unexpected_error_leaves_only_its_own_job_in_doubt(world: MakeWorld) -> None:
    w = world()
    submit = w.provider.submit

    def broken(request: Any, external_task_id: str, images: Any) -> Any:
        outcome = submit(request, external_task_id, images)
        if external_task_id == "job-1":
            raise RuntimeError("a bug after the POST")
        return outcome

    w.provider.submit = broken  # type: ignore[assignment]
    w.start("job-1", "job-2", "job-3")
    assert [w.job(f"job-{n}").state for n in (1, 2, 3)] == [State.IN_DOUBT, State.IN_PROGRESS, State.IN_PROGRESS]


def test_a_task_that_is_never_created_fails_after_its_retries(world: MakeWorld, simulator: Simulator) -> None:
    w = world(max_attempts=1)
    simulator.turn(no_id=1)
    w.start()
    job = w.job()
    assert (job.state, job.submit_tries) == (State.QUEUED, 1)
    assert 0 < w.alarm_in() <= 2
    job = w.settle(seconds=310)
    assert job.state is State.FAILED
    assert simulator.calls("submit") == 8
    assert simulator.bought() == (0, 0, "0")


# --- the lane -------------------------------------------------------------------------------------------------------

ACCOUNTS = {"401": "401", "402": "402", "403": "403"}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_refused_account_holds_the_lane_and_costs_no_attempt(
    account: str, world: MakeWorld, simulator: Simulator
) -> None:
    w = world()
    simulator.turn(account=account)
    ids = [f"job-{n}" for n in range(5)]
    w.enqueue(*ids)
    w.submit()
    # Every job is back in its place in the queue
    before = [w.job(job_id) for job_id in ids]
    assert {(job.state, job.attempt, job.submit_tries, job.external_task_id == job.id) for job in before} == {
        (State.QUEUED, 1, 0, True)
    }
    assert w.redis.zrange("{b}:q:|1|k", 0, -1) == ids
    lane = w.store.lanes.get()
    assert lane.held
    assert account in lane.reason
    assert (lane.slots, lane.dispatched) == (0, 0)
    assert account in before[0].reason
    # Nothing is sent during the hold
    calls = simulator.calls("submit")
    w.round(1)
    assert simulator.calls("submit") == calls
    # After the hold one job is sent, and the others wait for its outcome
    w.round(20)
    assert simulator.calls("submit") == calls + 1
    assert w.held_for() > 0
    # When the account works again, one job is sent, then all
    simulator.turn(account="ok")
    w.ahead(301)
    w.reconciler()
    assert w.run_submits() == 1
    w.reconciler()
    w.run_submits()
    assert {w.job(job_id).attempt for job_id in ids} == {1}
    for job_id in ids:
        assert w.settle(job_id).state is State.COMPLETED
    assert simulator.bought()[:2] == (5, 0)


HOLDS = {
    "seconds": (0.9, 2.1),
    # The date is the simulator's: on a slow machine it has nearly come when the worker reads it.
    "date": (0.4, 2.1),
    "garbage": (0.4, 1.1),
    "none": (0.4, 1.1),
    "far": (890, 901),
}


@pytest.mark.parametrize(("kind", "bounds"), HOLDS.items(), ids=HOLDS)
def test_a_throttle_holds_the_lane_for_the_requested_time_within_bounds(
    kind: str, bounds: tuple[float, float], world: MakeWorld, simulator: Simulator
) -> None:
    w = world()
    simulator.turn(throttle=1, retry_after=kind)
    w.start()
    job = w.job()
    assert (job.state, job.attempt, job.submit_tries) == (State.QUEUED, 1, 0)
    assert "429" in job.reason
    assert bounds[0] <= w.held_for() <= bounds[1]
    # The job is sent when the provider accepts it
    simulator.turn(throttle=0)
    w.round(bounds[1])
    assert w.settle().attempt == 1
    assert simulator.bought()[:2] == (1, 0)


def test_repeated_throttles_lengthen_the_hold_up_to_a_cap(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(throttle=1, retry_after="none")
    w.enqueue("job-1")
    waits = []
    for _ in range(9):
        w.reconciler()
        w.run_submits()
        waits.append(w.held_for())
        w.ahead(w.held_for())
    assert waits[0] <= 1
    assert 30 <= waits[-1] <= 60
    assert simulator.calls("submit") == 9
    assert w.job().attempt == 1


def test_an_unreachable_provider_leaves_no_doubt(world: MakeWorld, simulator: Simulator) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: no other process can take the port
        w = world(f"http://127.0.0.1:{taken.getsockname()[1]}")
        w.start("job-1", "job-2")
    assert w.states() == ["queued", "submitting", "queued"]
    assert (w.job().attempt, w.job().submit_tries) == (1, 0)
    assert "cannot be reached" in w.job().reason


def test_no_key_in_the_record_of_a_refused_account(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(account="401")
    w.start()
    record = "".join(str(w.redis.hgetall(key)) for key in ("{b}:j:job-1", "{b}:lane:default"))
    assert "401" in record
    assert "canary" not in record
