"""Workers and beat as processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from celery import Celery

from jobs.connections.client import connect
from jobs.new_job import NewJob
from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from tests.support.simulator import KEY, Simulator
from tests.support.world import request_of
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
TETHERED = (sys.executable, "-IS", str(redis_servers.TETHER))


class Processes:
    """Real processes that are configured by the environment alone. Each is ended by its id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, env: Mapping[str, str], *command: str) -> tuple[subprocess.Popen[bytes], Path]:
        """`celery -A worker.main:app <command>`; returns it with its log."""
        log = self._folder / f"{len(self._running)}-{command[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                # Tethered: the child cannot outlive this process.
                [*TETHERED, str(os.getpid()), sys.executable, "-m", "celery", "-A", "worker.main:app", *command],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._running.append((process, log))
        return process, log

    def close(self) -> None:
        for process, _ in self._running:
            if process.poll() is None:
                process.terminate()
        for process, _ in self._running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment(redis_url: str, provider_url: str) -> dict[str, str]:
    return {
        "BOOMERANG_REDIS_URL": redis_url,
        "BOOMERANG_PROVIDER_URL": provider_url,
        "BOOMERANG_PROVIDER_KEY": KEY,
        "BOOMERANG_ALLOW_PRIVATE_HOSTS": "1",
        "BOOMERANG_POLL_FIRST": "0.2",
        "BOOMERANG_POLL_MAX": "0.5",
        "BOOMERANG_LOOKUP_GRACE": "0.5",
    }


#: Options of `send_task` that are not part of a request.
OPTIONS = {"chain", "link", "link_error", "countdown", "eta", "expires", "queue"}


class Service:
    """Worker and beat as processes with their own Redis, without callbacks. `producer` is a plain Celery app."""

    start: Callable[..., "subprocess.Popen[bytes]"]
    workers: Sequence["subprocess.Popen[bytes]"]

    def __init__(self, url: str, simulator: Simulator, broker: str = "") -> None:
        self.broker = broker or url
        self.simulator = simulator
        self.env = {**environment(url, simulator.url), "BOOMERANG_BROKER_URL": self.broker}
        self.redis = connect(url)
        self.store = Store(self.redis, Settings(provider_key=KEY))
        self.producer = Celery("shop", broker=self.broker, backend=url, set_as_current=False)

    def close(self) -> None:
        # An unread result would unsubscribe when it is garbage-collected, long after its Redis has gone.
        consumer = self.producer.backend.result_consumer
        consumer.stop()
        consumer._pubsub = None
        self.producer.close()
        self.redis.close()

    def send(self, task_id: str, **given: Any) -> Any:
        """Send a producer's task by name. `given` may include Celery options."""
        options = {name: given.pop(name) for name in OPTIONS & given.keys()}
        kwargs = given or {"model": "kirin_image_omni", "prompt": "a fox"}
        return self.producer.send_task("boomerang.generate", kwargs=kwargs, task_id=task_id, **options)

    def enqueue(self, job_id: str) -> None:
        """Enqueue a job through another entry point."""
        request = request_of(job_id)
        self.store.jobs.enqueue([NewJob(id=job_id, text=request.text(), model=request.model)])


class RunService(Protocol):
    """The type of the fixture `run_service`."""

    def __call__(
        self, broker: str = "", workers: Sequence[Mapping[str, str]] = ({},)
    ) -> AbstractContextManager[Service]: ...
