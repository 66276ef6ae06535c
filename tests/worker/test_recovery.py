"""Redis returns to an earlier state at every point of a job's life, and the provider accepts duplicates."""

from collections.abc import Callable
from typing import Any

import pytest

from jobs.lanes import LaneSettings
from jobs.settings import Ambiguous
from jobs.states import State
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld, RequestOf


def _in_doubt(w: Any, look_ups: int = 1) -> None:
    w.enqueue("job-1")
    w.store.attempts.admit(1)
    (claim,) = w.store.attempts.claim(["job-1"])
    w.store.attempts.mark_in_doubt("job-1", claim.fence, "read timed out")
    for _ in range(look_ups):
        w.round(6)


BACKED_UP: dict[str, Callable[[Any], Any]] = {
    "accepted": lambda w: w.enqueue("job-1"),
    "admitted": lambda w: (w.enqueue("job-1"), w.store.attempts.admit(1)),
    "claimed": lambda w: (w.enqueue("job-1"), w.store.attempts.admit(1), w.store.attempts.claim(["job-1"])),
    "in doubt": _in_doubt,
    "in progress": lambda w: w.start(),
}


class Backup:
    """A backup of all of Redis. The clock is not part of it."""

    def __init__(self, w: Any) -> None:
        self._w = w
        self._values = {key: w.binary.dump(key) for key in w.binary.scan_iter()}

    def restore(self, *, restarted: bool = True) -> None:
        now = self._w.redis.get("test:clock")
        self._w.redis.flushdb()
        for key, value in self._values.items():
            self._w.binary.restore(key, 0, value)
        self._w.redis.set("test:clock", now)
        if restarted:
            # The record names the run id of the previous process
            self._w.redis.hset("{b}:epoch", "run", "another")


def _bought_once(w: Any, simulator: Simulator) -> None:
    tasks, twice, _ = simulator.bought()
    assert (tasks, twice) == (1, 0)
    assert w.lane_counters()[:2] == (0, 0)
    assert w.redis.zcard("{b}:alarms") == 0


@pytest.mark.parametrize("backed_up", BACKED_UP)
def test_a_submission_that_redis_forgot_is_found_and_not_bought_again(
    backed_up: str, world: MakeWorld, simulator: Simulator
) -> None:
    simulator.turn(duplicates="unnoticed")
    w = world()
    w.reconciler()
    BACKED_UP[backed_up](w)
    backup = Backup(w)
    for _ in range(10):
        if w.job().state is State.IN_PROGRESS:
            break
        w.round(15)
    assert simulator.bought()[0] == 1
    backup.restore()
    assert w.settle().state is State.COMPLETED
    _bought_once(w, simulator)


def test_without_recovery_the_same_job_is_bought_twice(world: MakeWorld, simulator: Simulator) -> None:
    """Without recovery the fault of the test above costs money, so that test means something."""
    simulator.turn(duplicates="unnoticed")
    w = world(recovery=False)
    w.reconciler()
    w.enqueue("job-1")
    backup = Backup(w)
    w.submit()
    backup.restore()
    w.settle()
    assert simulator.bought()[1] == 1


def test_a_later_attempt_that_redis_forgot_is_found(world: MakeWorld, simulator: Simulator) -> None:
    simulator.turn(duplicates="unnoticed", fail=1)
    w = world()
    w.start()
    backup = Backup(w)
    for _ in range(10):
        if w.job().attempt == 2 and w.job().state is State.IN_PROGRESS:
            break
        w.round(5)
        simulator.turn(fail=0)
    assert w.job().attempt == 2
    bought = simulator.bought()[0]
    backup.restore()
    assert w.settle().state is State.COMPLETED
    assert simulator.bought()[:2] == (bought, 0)


def test_recovery_waits_for_a_worker_that_still_sends(
    world: MakeWorld, simulator: Simulator, a_request: RequestOf
) -> None:
    simulator.turn(duplicates="unnoticed")
    w = world()
    w.reconciler()
    w.enqueue("job-1")
    backup = Backup(w)
    w.store.attempts.admit(1)
    (claim,) = w.store.attempts.claim(["job-1"])
    backup.restore()
    for _ in range(5):
        w.round(10)  # 50 s: the worker still has its lease
    assert simulator.calls("look.absent") >= 2
    w.provider.submit(a_request(), claim.external_task_id)
    assert w.settle().state is State.COMPLETED
    _bought_once(w, simulator)


def test_a_job_that_was_not_sent_is_sent_once(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    w.reconciler()
    w.enqueue("job-1")
    Backup(w).restore()
    assert w.settle(seconds=6).state is State.COMPLETED
    assert simulator.calls("look.absent") >= 2
    _bought_once(w, simulator)


def test_every_possible_account_is_looked_up(world: MakeWorld, simulator: Simulator, a_request: RequestOf) -> None:
    simulator.turn(duplicates="unnoticed")
    lanes = (LaneSettings(name="default"), LaneSettings(name="other"))
    w = world(named_lanes=lanes)
    w.reconciler()
    w.enqueue("job-1")
    backup = Backup(w)
    w.store.attempts.admit(1, lanes[1])
    (claim,) = w.store.attempts.claim(["job-1"])
    w.providers[claim.lane].submit(a_request(), claim.external_task_id)
    backup.restore()
    w.store.attempts.admit(1, lanes[0])
    w.store.attempts.claim(["job-1"])
    job = w.settle()
    assert (job.state, job.lane, simulator.bought()[:2]) == (State.COMPLETED, "other", (1, 0))
    # The cost counts for the account that has the task
    assert {lane.name: lane.slots for lane in w.store.lanes.get_all()} == {"default": 0, "other": 0}
    assert w.redis.hget("{b}:lane:other", "spent")


def test_without_look_ups_the_job_is_held_for_a_person(world: MakeWorld, simulator: Simulator) -> None:
    w = world(lookup_path=None, ambiguous=Ambiguous.HOLD)
    w.reconciler()
    w.enqueue("job-1")
    Backup(w).restore()
    for _ in range(10):
        w.round(30)
    assert w.job().state is State.IN_DOUBT
    assert simulator.calls("submit") == 0


def test_recovery_is_logged_once(world: MakeWorld, simulator: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    w = world()
    w.reconciler()
    assert "epoch" not in caplog.text
    Backup(w).restore()
    w.reconciler()
    w.reconciler()
    assert caplog.text.count("epoch 1") == 1
