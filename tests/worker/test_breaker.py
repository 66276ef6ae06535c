"""The circuit breaker stops submissions in an outage and probes until it ends. Each lane has one breaker."""

import logging
import socket
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from jobs.lane_health import FAILURES_TO_OPEN
from jobs.lanes import LaneSettings, pooled
from jobs.states import State
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld

OUTAGES = {"503": {"outage": "503"}, "cut": {"outage": "cut"}}
LANES = pooled((LaneSettings(name="default", max_in_flight=4), LaneSettings(name="other", max_in_flight=4)))
IDS = [f"job-{number}" for number in range(10)]


def is_open(w: Any, lane: str = "default") -> bool:
    return w.store.lanes.get(lane).open_since is not None


def unused_address() -> tuple[socket.socket, str]:
    """Return a bound socket and its URL. Nothing listens there, and no other process can while the socket is open."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    return taken, f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("faults", OUTAGES.values(), ids=OUTAGES)
def test_every_job_is_paid_once_after_an_outage(
    faults: dict[str, str], world: MakeWorld, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(poll_max=10.0)
    w.start("before-1", "before-2")
    simulator.turn(**faults)
    w.enqueue(*IDS[:FAILURES_TO_OPEN])
    w.submit()
    assert is_open(w)
    # Then nothing is sent, and each round makes one probe only
    w.enqueue(*IDS[FAILURES_TO_OPEN:])
    calls = simulator.calls("submit"), simulator.calls("look")
    with caplog.at_level(logging.INFO, "worker.breaker"):
        for _ in range(5):
            w.round(40)
        assert simulator.calls("submit") == calls[0]
        assert simulator.calls("look") == calls[1] + 5
        assert {w.job(job_id).state for job_id in IDS[:FAILURES_TO_OPEN]} == {State.IN_DOUBT}
        # When the outage is over
        simulator.turn(outage="off")
        w.round(40)
        assert not is_open(w)
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "circuit breaker open" in warnings[0]
    assert "circuit breaker closed" in warnings[1]
    # Then the same round sends the waiting jobs, and the jobs in doubt are found
    assert {w.job(job_id).state for job_id in IDS[FAILURES_TO_OPEN:]} == {State.IN_PROGRESS}
    for job_id in ("before-1", "before-2", *IDS):
        assert w.settle(job_id).state is State.COMPLETED
    assert simulator.bought()[:2] == (12, 0)
    assert w.lane_counters() == (0, 0, Decimal(simulator.bought()[2]))
    assert [change.what for change in w.store.lanes.get().history] == ["closed", "opened"]


def test_an_unreachable_provider_is_not_tried_for_each_job(world: MakeWorld, simulator: Simulator) -> None:
    taken, nowhere = unused_address()
    with taken:
        w = world(nowhere)
        w.enqueue(*IDS)
        w.round(0)
        assert is_open(w)
        assert {w.job(job_id).state for job_id in IDS} == {State.QUEUED}
        assert "cannot be reached" in w.store.lanes.get().reason
        assert all(w.job(job_id).attempt == 1 for job_id in IDS)
        assert w.lane_counters()[:2] == (0, 0)
        for _ in range(3):
            w.round(40)
        assert is_open(w)
        assert w.store.lanes.get().opened == 1


def test_failed_polls_open_the_breaker_and_no_job_expires(world: MakeWorld, simulator: Simulator) -> None:
    w = world(deadline=60.0, poll_max=10.0)
    simulator.turn(latency="30")
    w.start(*IDS[:FAILURES_TO_OPEN])
    simulator.turn(outage="503")
    w.round(6)
    assert is_open(w)
    for _ in range(5):
        w.round(60)
    assert {w.job(job_id).state for job_id in IDS[:FAILURES_TO_OPEN]} == {State.IN_PROGRESS}
    simulator.turn(outage="off")
    w.round(60)
    assert not is_open(w)
    # The provider answers again: the tasks are still running, and their deadline has passed
    w.round(20)
    assert {w.job(job_id).state for job_id in IDS[:FAILURES_TO_OPEN]} == {State.EXPIRED}


def test_a_refusal_closes_the_breaker(world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(outage="503")
    w.start(*IDS[:FAILURES_TO_OPEN])
    assert is_open(w)
    simulator.turn(outage="off", account="402")
    w.round(5)
    assert not is_open(w)
    # The next submission finds that the account is refused
    w.enqueue("job-9")
    w.round(30)
    assert w.job("job-9").state is State.QUEUED
    assert "402" in w.redis.hget("{b}:lane:default", "why")


@pytest.mark.parametrize("fault", ["html", "redirect", "no_id"])
def test_odd_answers_do_not_open_the_breaker(fault: str, world: MakeWorld, simulator: Simulator) -> None:
    w = world()
    simulator.turn(**{fault: 1})
    w.start(*IDS)
    assert not is_open(w)


def test_an_unexpected_error_in_a_probe_does_not_stop_the_round(
    world: MakeWorld, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    w = world()
    simulator.turn(outage="503")
    w.start(*IDS[:FAILURES_TO_OPEN])

    def broken(known: str = "") -> Any:
        raise RuntimeError(f"a bug {known}")

    w.provider.probe = broken
    with caplog.at_level(logging.CRITICAL, "worker.reconcile"):
        w.round(5)
    assert is_open(w)
    del w.provider.probe
    simulator.turn(outage="off")
    w.round(130)
    assert not is_open(w)


# --- lanes ------------------------------------------------------------------------------------------------------------


def accounts(simulator: Simulator) -> dict[str, int]:
    """Return the number of tasks of each key."""
    return {key: account["tasks"] for key, account in simulator.get("/_sim/stats")["accounts"].items()}


def test_two_accounts_share_the_work_within_their_limits(world: MakeWorld, simulator: Simulator) -> None:
    w = world(named_lanes=LANES)
    simulator.turn(slots=4, latency="60")
    w.enqueue(*IDS)
    w.round(0)
    assert sorted(accounts(simulator).values()) == [4, 4]
    assert simulator.fired("slots") == 0
    assert sorted(w.job(job_id).lane for job_id in IDS if w.job(job_id).state is State.IN_PROGRESS) == (
        ["default"] * 4 + ["other"] * 4
    )


def test_an_outage_of_one_account_leaves_the_other_working(
    world: MakeWorld, simulator: Simulator, disconnect_lane: Callable[[Any, str], Callable[[], None]]
) -> None:
    w = world(named_lanes=LANES)
    restore = disconnect_lane(w, "default")
    w.enqueue(*IDS)
    for _ in range(6):
        w.round(1)
    assert (is_open(w), is_open(w, "other")) == (True, False)
    # Jobs that were certainly not sent go through the other lane
    for job_id in IDS:
        assert w.settle(job_id, seconds=5).state is State.COMPLETED
    assert {w.job(job_id).lane for job_id in IDS} == {"other"}
    assert simulator.bought()[:2] == (10, 0)
    restore()
    w.round(40)
    assert not is_open(w)


def test_a_job_that_may_be_at_one_account_is_never_sent_to_another(world: MakeWorld, simulator: Simulator) -> None:
    w = world(named_lanes=LANES)
    # Given a submission that was lost on the way, so that its outcome is unknown
    simulator.turn(cut_before=1)
    w.enqueue("job-1")
    w.round(0)
    simulator.turn(cut_before=0, slots=1, latency="0")
    first = w.job().lane
    assert w.job().state is State.IN_DOUBT
    # When its account is held for long, and the other is free
    w.store.lanes.hold("402", base=600.0, cap=600.0, lane=first)
    for _ in range(4):
        w.round(20)
    # Then the job waits for its account
    assert w.job().state is State.QUEUED
    assert simulator.bought()[0] == 0
    assert w.settle(seconds=200).state is State.COMPLETED
    assert w.job().lane == first
    assert simulator.bought()[:2] == (1, 0)


def test_jobs_of_a_removed_lane_wait_until_it_returns(world: MakeWorld, simulator: Simulator) -> None:
    w = world(named_lanes=LANES)
    w.store.lanes.hold("429", base=5.0, cap=5.0, lane="default")
    simulator.turn(latency="0")
    w.enqueue("job-1")
    w.round(0)
    assert w.job().lane == "other"
    fewer = world(named_lanes=LANES[:1])
    for _ in range(3):
        fewer.round(200)
    assert fewer.job().state is State.IN_PROGRESS
    assert "BOOMERANG_LANES" in fewer.job().reason
    # When the lane returns
    again = world(named_lanes=LANES)
    again.ahead(300)
    assert again.settle().state is State.COMPLETED


@pytest.fixture
def disconnect_lane() -> Callable[[Any, str], Callable[[], None]]:
    """Return `restore = disconnect_lane(world, lane)`: connections to the account are refused until `restore()`."""

    def disconnect(w: Any, lane: str) -> Callable[[], None]:
        provider = w.providers[lane]
        base = provider._base
        taken, provider._base = unused_address()

        def restore() -> None:
            provider._base = base
            taken.close()

        return restore

    return disconnect
