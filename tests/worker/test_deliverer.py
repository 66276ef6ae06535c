"""A worker that only delivers, beside workers that leave its queue out."""

from typing import Any

import pytest

from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.states import State
from jobs.task_names import DELIVER
from tests.support.listener import Listener
from tests.support.waiting import WaitFor
from tests.support.worker_service import Processes, RunService
from tests.support.world import request_of

pytestmark = pytest.mark.stack


def test_it_delivers_without_a_key_of_the_provider(
    run_service: RunService, processes: Processes, listener: Listener, wait_for: WaitFor
) -> None:
    with run_service(workers=()) as running:
        service: Any = running
        env = {name: value for name, value in service.env.items() if "PROVIDER_KEY" not in name}
        # Given a worker without that queue, and messages of an older version in it
        processes.start(service.env, "worker", "-X", DELIVER, "-n", "worker@%h")
        request = request_of(callback_url=f"{listener.url}/hook")
        owed = frozenset({Delivery.NOTIFY})
        service.store.jobs.enqueue([NewJob(id="job-1", text=request.text(), model=request.model, owed=owed)])
        wait_for(lambda: service.store.jobs.get("job-1").state is State.COMPLETED, 60)
        assert service.store.jobs.get("job-1").owed
        # When a deliverer starts
        deliverer, log = processes.start(env, "worker", "-Q", DELIVER, "-n", "deliverer@%h")
        # Then it makes the deliveries, and reads no other queue
        wait_for(lambda: listener.received, 60, "the producer is notified")
        wait_for(lambda: DELIVER in service.store.liveness.pulse().read_at)
        assert service.store.liveness.troubles() == ()
        deliverer.terminate()
        assert deliverer.wait(60) == 0
        assert "Traceback" not in log.read_text()


def test_other_workers_need_the_key(env: dict[str, str], processes: Processes) -> None:
    given = {name: value for name, value in env.items() if "PROVIDER_KEY" not in name}
    worker, log = processes.start(given, "worker", "-X", DELIVER)
    assert worker.wait(60) != 0
    assert "BOOMERANG_PROVIDER_KEY" in log.read_text()
