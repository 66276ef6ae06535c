"""On SIGTERM a process completes its requests, starts no others and exits with 0 within its grace period."""

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.audit.audit import audit
from jobs.states import State
from tests.support.waiting import WaitFor
from tests.support.worker_service import Processes, RunService
from tests.support.world import MakeWorld

pytestmark = pytest.mark.stack
#: Seconds before SIGKILL, from docs/guides/run-processes.md.
GRACE = 60
IDS = [f"job-{number}" for number in range(60)]


@pytest.fixture
def service(run_service: RunService) -> Iterator[Any]:
    with run_service(workers=()) as service:
        yield service


def test_no_submission_is_interrupted(service: Any, wait_for: WaitFor) -> None:
    # Given a provider that answers submissions slowly, and far more jobs than the worker has threads
    service.simulator.turn(slow=1.5, latency="0")
    worker = service.start(0, BOOMERANG_CONCURRENCY="4", BOOMERANG_SUBMIT_GROUP="4", BOOMERANG_SUBMIT_LEASE="40")
    for job_id in IDS:
        service.enqueue(job_id)
    store = service.store
    wait_for(lambda: any(job.state is State.SUBMITTING for job in store.jobs.get_many(IDS)), 40, "a POST is under way")
    # When the worker gets SIGTERM
    worker.terminate()
    # Then it exits with 0
    assert worker.wait(GRACE) == 0
    # And it has recorded every submission: no job has a lease or is in doubt
    jobs = store.jobs.get_many(IDS)
    sent = {job.id for job in jobs if job.state is not State.QUEUED}
    assert {job.state for job in jobs} <= {State.QUEUED, State.IN_PROGRESS, State.COMPLETED}
    assert 0 < len(sent) < len(IDS)
    assert service.simulator.bought()[0] == len(sent)
    assert audit(store) == []
    # When the next worker starts, it completes the rest
    service.simulator.turn(slow=0)
    service.start(1)
    wait_for(
        lambda: all(job.state is State.COMPLETED for job in store.jobs.get_many(IDS)), 60, "all jobs are completed"
    )
    assert service.simulator.bought()[:2] == (len(IDS), 0)


def test_beat_ends_cleanly(env: dict[str, str], processes: Processes, world: MakeWorld, wait_for: WaitFor) -> None:
    w = world()
    beat, _ = processes.start(env, "beat")
    wait_for(lambda: w.messages_in("boomerang.reconcile"), 30, "it works")
    beat.terminate()
    assert beat.wait(GRACE) == 0
