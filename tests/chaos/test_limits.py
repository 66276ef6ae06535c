"""The longest effect of a fault, with the chosen time-outs of Celery, Redis and the leases."""

import os
import signal

import pytest

from jobs.states import State
from tests.chaos.harness import Chaos
from tests.support.producers import LOCAL, own
from tests.support.verdict import SETTINGS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
#: Seconds within which work must continue after connections died without a reset.
SILENCE = 30.0
LEASE, TICK = float(SETTINGS["BOOMERANG_SUBMIT_LEASE"]), 1.0
#: Seconds of tolerance for a busy machine.
BUSY = 10.0


@pytest.mark.parametrize("wire", ["worker-state", "worker-broker", "webhook-state", "webhook-broker", "beat-broker"])
def test_connections_that_died_without_a_reset_are_replaced(running: Chaos, wire: str) -> None:
    """No reset ever comes: only time-outs and health checks detect it."""
    before, after, proxy = f"before-{wire}", f"after-{wire}", running.wires[wire]
    running.enqueue(20, before)
    running.until_ended(5, before)
    held = proxy.held
    assert proxy.strand() > 0
    # Jobs in progress continue, and new ones complete.
    running.enqueue(20, after)
    running.until_ended(20, after, timeout=SILENCE)
    assert proxy.held > held
    running.promise_is_kept(20, after)
    running.promise_is_kept(20, before)


def test_a_killed_workers_submission_is_taken_over_after_its_lease(running: Chaos) -> None:
    # Given a submission that never gets an answer
    provider = running.wires["worker-provider"]
    provider.weather.silent = True
    running.enqueue(1, "killed")
    (job_id,) = [job.id for job in running.store.batches.jobs(own("killed", LOCAL))]

    def state() -> State:
        return running.store.jobs.get(job_id).state

    running.wait_for(lambda: state() is State.SUBMITTING, timeout=20, message="it is being submitted")
    # When its worker is killed
    os.kill(running.stack.pids()["worker"], signal.SIGKILL)
    provider.clear()
    # Then another worker takes it over as soon as its lease ends
    running.wait_for(lambda: state() is not State.SUBMITTING, timeout=LEASE + TICK + BUSY, message="it is taken up")
    running.promise_is_kept(1, "killed")
