"""Redis goes back to an earlier state, at every point of a job's life; the provider does not notice repeats."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.lanes import LaneSettings
from jobs.settings import Ambiguous
from jobs.states import State
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld, RequestOf


def _doubtful(w: Any, looks: int = 1) -> None:
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    (claim,) = w.store.attempts.claim(["job-1"])
    w.store.attempts.mark_in_doubt("job-1", claim.fence, "read timed out")
    for _ in range(looks):
        w.round(6)


REMEMBERED: dict[str, Callable[[Any], Any]] = {
    "accepted": lambda w: w.enqueue("job-1"),
    "admitted": lambda w: (w.enqueue("job-1"), w.store.attempts.admit(1)),
    "claimed": lambda w: (w.enqueue("job-1"), w.store.attempts.admit(1), w.store.attempts.claim(["job-1"])),
    "in doubt": _doubtful,
    "in progress": lambda w: w.start(),
}


class Past:
    """All of Redis as it stood; its clock goes on."""

    def __init__(self, w: Any) -> None:
        self._w = w
        self._kept = {key: w.binary.dump(key) for key in w.binary.scan_iter()}

    def comes_back(self, *, restarted: bool = True) -> None:
        ahead = self._w.redis.get("test:ahead") or "0"
        self._w.redis.flushdb()
        for key, value in self._kept.items():
            self._w.binary.restore(key, 0, value)
        self._w.redis.set("test:ahead", ahead)
        if restarted:
            # What it remembers is the run id of the process before.
            self._w.redis.hset("{b}:epoch", "run", "another")


def _bought_once(w: Any, simulator: Simulator) -> None:
    tasks, twice, _ = simulator.bought()
    assert (tasks, twice) == (1, 0)
    assert w.lane_counters()[:2] == (0, 0)
    assert w.redis.zcard("{b}:alarms") == 0


@pytest.mark.parametrize("remembered", REMEMBERED)
def test_a_submission_that_redis_forgot_is_found_and_not_bought_again(
    remembered: str, world: MakeWorld, simulator: Simulator
) -> None:
    simulator.turn(duplicates="unnoticed")
    w = world()
    w.reconciler()
    REMEMBERED[remembered](w)
    past = Past(w)
    for _ in range(10):
        if w.job().state is State.IN_PROGRESS:
            break
        w.round(15)
    assert simulator.bought()[0] == 1
    past.comes_back()
    assert w.settle().state is State.COMPLETED
    _bought_once(w, simulator)


def test_without_recovery_the_same_job_is_bought_twice(world: MakeWorld, simulator: Simulator) -> None:
    """What the recovery is for: the test above means something."""
    simulator.turn(duplicates="unnoticed")
    w = world(recovery=False)
    w.reconciler()
    w.enqueue("job-1")
    past = Past(w)
    w.submit()
    past.comes_back()
    w.settle()
    assert simulator.bought()[1] == 1


def test_a_later_attempt_that_redis_forgot_is_found(world: MakeWorld, simulator: Simulator) -> None:
    simulator.turn(duplicates="unnoticed", fail=1)
    w = world()
    w.start()
    past = Past(w)
    for _ in range(10):
        if w.job().attempt == 2 and w.job().state is State.IN_PROGRESS:
            break
        w.round(5)
        simulator.turn(fail=0)
    assert w.job().attempt == 2
    bought = simulator.bought()[0]
    past.comes_back()
    assert w.settle().state is State.COMPLETED
    assert simulator.bought()[:2] == (bought, 0)


def test_recovery_waits_for_a_worker_that_still_sends(
    world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    simulator.turn(duplicates="unnoticed")
    w = world()
    w.reconciler()
    w.enqueue("job-1")
    past = Past(w)
    w.store.attempts.admit(1)
    (claim,) = w.store.attempts.claim(["job-1"])
    past.comes_back()
    for _ in range(5):
        w.round(10)  # fifty seconds: the worker has its lease still
    assert simulator.calls("look.absent") >= 2
    w.provider.submit(a_request(), claim.external_task_id)
    assert w.settle().state is State.COMPLETED
    _bought_once(w, simulator)


def test_a_job_that_was_not_sent_is_sent_once(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.reconciler()
    w.enqueue("job-1")
    Past(w).comes_back()
    assert w.settle(seconds=6).state is State.COMPLETED
    assert simulator.calls("look.absent") >= 2
    _bought_once(w, simulator)


def test_every_possible_account_is_looked_up(world: MakeWorld, simulator: Simulator, a_request: RequestOf) -> None:
    simulator.turn(duplicates="unnoticed")
    lanes = (LaneSettings(name="default"), LaneSettings(name="other"))
    w = world(named_lanes=lanes)
    w.reconciler()
    w.enqueue("job-1")
    past = Past(w)
    w.store.attempts.admit(1, lanes[1])
    (claim,) = w.store.attempts.claim(["job-1"])
    w.providers[claim.lane].submit(a_request(), claim.external_task_id)
    past.comes_back()
    w.store.attempts.admit(1, lanes[0])
    w.store.attempts.claim(["job-1"])
    job = w.settle()
    assert (job.state, job.lane, simulator.bought()[:2]) == (State.COMPLETED, "other", (1, 0))
    # and its money is that of the account that it went to
    assert {lane.name: lane.slots for lane in w.store.lanes.get_all()} == {"default": 0, "other": 0}
    assert w.redis.hget("{b}:lane:other", "spent")


def test_without_look_ups_the_job_is_held_for_a_person(world: MakeWorld, simulator: Simulator) -> None:
    w = world(lookup_path=None, ambiguous=Ambiguous.HOLD)
    w.reconciler()
    w.enqueue("job-1")
    Past(w).comes_back()
    for _ in range(10):
        w.round(30)
    assert w.job().state is State.IN_DOUBT
    assert simulator.calls("submit") == 0


def test_recovery_is_logged_once(world: MakeWorld, simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    w = world()
    w.reconciler()
    assert "epoch" not in caplog.text
    Past(w).comes_back()
    w.reconciler()
    w.reconciler()
    assert caplog.text.count("epoch 1") == 1
