"""A worker and beat whose broker is killed, stopped and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs.states import State
from ops.local.redis_server import TETHER, RedisCommand, is_ready, prepare
from tests.support.worker_service import RunService

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
WaitFor = Callable[..., None]
ROOT = Path(__file__).parents[2]
#: Seconds before SIGKILL, from docs/guides/run-processes.md.
GRACE = 60


class Broker:
    """A Redis that can be killed and started again at the same address."""

    def __init__(self, folder: Path, wait_for: WaitFor, port: int | None = None) -> None:
        self._wait_for = wait_for
        self.command: RedisCommand = prepare(folder, port=port)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-IS", str(TETHER), str(os.getpid()), *self.command.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._wait_for(lambda: is_ready(self.command.url), 30, "the broker answers")

    @property
    def refused(self) -> int:
        """The number of clients that were refused for a wrong password."""
        with closing(redis.Redis.from_url(self.command.url)) as client:
            stats: Any = client.info("errorstats")
        return int(stats.get("errorstat_WRONGPASS", {}).get("count", 0))

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        self.process.wait(30)


@dataclass(frozen=True)
class Ailing:
    """A service whose broker a test may end. `health` is its worker's health file."""

    service: Any
    broker: Broker
    health: Path


@contextmanager
def ailing(run_service: RunService, folder: Path, wait_for: WaitFor) -> Iterator[Ailing]:
    broker, health = Broker(folder / "broker", wait_for), folder / "health"
    # Remote control is off, because no test here needs it
    settings = {"BOOMERANG_HEALTH_FILE": str(health), "BOOMERANG_REMOTE_CONTROL": "off"}
    try:
        with run_service(broker=broker.command.url, workers=(settings,)) as service:
            complete_job(service, wait_for, "before")
            yield Ailing(service, broker, health)
    finally:
        broker.end()


@pytest.fixture(scope="module")
def lasting(run_service: RunService, tmp_path_factory: pytest.TempPathFactory, wait_for: WaitFor) -> Iterator[Ailing]:
    """One service for the tests that leave worker and broker running. Each has jobs of its own."""
    with ailing(run_service, tmp_path_factory.mktemp("lasting"), wait_for) as made:
        yield made


def complete_job(service: Any, wait_for: WaitFor, job_id: str) -> None:
    """Enqueue a job and wait until it is completed."""
    service.enqueue(job_id)
    wait_for(lambda: service.store.jobs.get(job_id).state is State.COMPLETED, 90, f"{job_id} is completed")


def healthy(health: Path, within: int = 10) -> bool:
    """Run the health check of the compose file."""
    asked = subprocess.run(
        [sys.executable, "-m", "worker.health", str(within)],
        cwd=ROOT,
        env={"BOOMERANG_HEALTH_FILE": str(health)},
        capture_output=True,
        check=False,
    )
    assert asked.returncode in (0, 1)
    assert bool(asked.stderr) == bool(asked.returncode)
    return asked.returncode == 0


def test_a_worker_survives_restarts_of_the_broker(lasting: Ailing, wait_for: WaitFor) -> None:
    service, broker = lasting.service, lasting.broker
    (worker,) = service.workers
    # Given unacknowledged messages each time the broker ends
    service.simulator.turn(slow=1)
    for cycle, number in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
        ids = [f"job-{cycle}-{each}" for each in range(40)]
        for job_id in ids:
            service.enqueue(job_id)
        wait_for(
            lambda: any(job.state is State.SUBMITTING for job in service.store.jobs.get_many(ids)),  # noqa: B023
            30,
            "a submission is under way",
        )
        broker.end(number)
        # The worker notices that the broker is unavailable
        submitted = {State.IN_PROGRESS, State.COMPLETED}
        wait_for(
            lambda: any(job.state in submitted for job in service.store.jobs.get_many(ids)),  # noqa: B023
            60,
            "one has ended meanwhile",
        )
        broker.start()
        complete_job(service, wait_for, f"after-{cycle}")
        assert worker.poll() is None
    service.simulator.turn(slow=0)


def test_a_worker_survives_another_server_at_the_brokers_address(
    lasting: Ailing, tmp_path: Path, wait_for: WaitFor
) -> None:
    service, broker = lasting.service, lasting.broker
    # Given a server with another password at the broker's address
    (worker,) = service.workers
    broker.end()
    other = Broker(tmp_path / "other", wait_for, broker.command.port)
    try:
        wait_for(lambda: other.refused > 5, 60, "the worker is refused, and tries again")
        assert worker.poll() is None
    finally:
        other.end()
    broker.start()
    complete_job(service, wait_for, "after-another")
    assert worker.poll() is None


def test_a_worker_is_healthy_while_its_connection_works(lasting: Ailing, wait_for: WaitFor) -> None:
    broker, health = lasting.broker, lasting.health
    (worker,) = lasting.service.workers
    wait_for(lambda: healthy(health), 30, "healthy")
    broker.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not healthy(health), 60, "unhealthy while the broker does not answer")
    broker.process.send_signal(signal.SIGCONT)
    wait_for(lambda: healthy(health), 60, "healthy again")
    worker.send_signal(signal.SIGSTOP)
    wait_for(lambda: not healthy(health), 60, "unhealthy while the worker is stopped")
    worker.send_signal(signal.SIGCONT)
    wait_for(lambda: healthy(health), 60, "healthy again")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_ends_cleanly_while_the_broker_is_unavailable(
    run_service: RunService, tmp_path: Path, wait_for: WaitFor, number: int
) -> None:
    with ailing(run_service, tmp_path, wait_for) as made:
        (worker,) = made.service.workers
        if number == signal.SIGSTOP:
            made.broker.process.send_signal(number)
        else:
            made.broker.end()
        worker.terminate()
        assert worker.wait(GRACE) == 0
