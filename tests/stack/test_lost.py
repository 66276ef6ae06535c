"""A worker, and a jobs' Redis that is killed and restarted without its data or with older data."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from click.testing import CliRunner

from jobs.connections.client import connect
from jobs.errors import StoreUnavailable, WorkRefused
from jobs.new_job import NewJob
from jobs.settings import Settings
from jobs.states import State
from jobs.store.store import Store
from ops.cli import main
from ops.local import redis_server as redis_servers

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
WaitFor = Callable[..., None]
ROOT = Path(__file__).parents[2]
TETHERED = (sys.executable, "-IS", str(redis_servers.TETHER))
#: Nothing listens there: submissions fail, which does not matter here.
PROVIDER = "http://127.0.0.1:1"
#: Celery fails a task at this attempt by default.
CELERYS_ATTEMPTS = (Task.max_retries or 0) + 1


class Running:
    """The jobs' Redis on a fixed port and file, a broker, and a worker with its beat."""

    def __init__(self, folder: Path, broker: str, wait_for: WaitFor, **settings: str) -> None:
        self.folder, self.wait_for = folder, wait_for
        self.command = redis_servers.prepare(folder / "redis")
        self.env = {
            "BOOMERANG_REDIS_URL": self.command.url,
            "BOOMERANG_BROKER_URL": broker,
            "BOOMERANG_RESULT_URL": broker,
            "BOOMERANG_PROVIDER_URL": PROVIDER,
            "BOOMERANG_PROVIDER_KEY": "a-key",
            "BOOMERANG_RECOVERY": "off",
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.client = connect(self.command.url)
        self.store = Store(self.client, Settings())
        self.producer = Celery("shop", broker=broker, backend=broker, set_as_current=False)

    def start_redis(self) -> None:
        self._start("redis", *self.command.argv)
        self.wait_for(lambda: redis_servers.is_ready(self.command.url), 30, "Redis answers")

    def start(self, name: str) -> None:
        self._start(name, sys.executable, "-m", "celery", "-A", "worker.main:app", name)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*TETHERED, str(os.getpid()), *command],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        self.processes[name].send_signal(how)
        self.processes[name].wait(60)

    def log(self, name: str = "worker") -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def enqueue(self, *names: str) -> bool:
        with suppress(StoreUnavailable):
            self.store.jobs.enqueue([NewJob(id=name, text="{}", model="m") for name in names])
            return True
        return False

    @property
    def refusal(self) -> str:
        try:
            return self.store.continuity.refusal()
        except StoreUnavailable:
            return ""

    def recover(self) -> None:
        env = {name: value for name, value in self.env.items() if "_URL" in name}
        answer = CliRunner().invoke(main, ["recover"], env=env)
        assert answer.exit_code == 0, answer.output

    def aof(self) -> list[Path]:
        """The append-only file (Redis 6), or its folder."""
        return [path for path in self.command.folder.iterdir() if path.name.startswith("appendonly")]

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        consumer = self.producer.backend.result_consumer
        consumer.stop()
        consumer._pubsub = None
        self.producer.close()
        self.client.close()


@contextmanager
def _running(folder: Path, wait_for: WaitFor, **settings: str) -> Iterator[Running]:
    with (
        redis_servers.running(folder / "broker", durable=False) as broker,
        closing(Running(folder, broker.url, wait_for, **settings)) as run,
    ):
        run.start_redis()
        for name in ("worker", "beat"):
            run.start(name)
        wait_for(lambda: run.enqueue("fox"), 60, "an installation begins")
        yield run


@pytest.fixture
def run(tmp_path: Path, wait_for: WaitFor) -> Iterator[Running]:
    with _running(tmp_path, wait_for) as run:
        yield run


def seen(run: Running, count: int) -> None:
    """Wait until the worker's witness has noted `count` accepted jobs."""

    def noted() -> bool:
        with closing(connect(run.env["BOOMERANG_BROKER_URL"])) as broker:
            notes: Any = broker.hvals("{b}:witness")
            return any(f'"accepted": {count},' in note for note in notes)

    run.wait_for(noted, 30, f"{count} jobs are noted")


@pytest.mark.parametrize("workers", ["kept", "killed too"])
def test_an_empty_redis_is_refused_until_recovery(workers: str, run: Running) -> None:
    run.enqueue("owl", "bat")
    seen(run, 3)
    run.end("redis")
    if workers == "killed too":
        run.end("worker")
    for path in run.aof():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run.start_redis()
    # It accepts no job from the start, even before a worker checks it.
    with pytest.raises(WorkRefused):
        run.store.jobs.enqueue([NewJob(id="new", text="{}", model="m")])
    if workers == "killed too":
        run.start("worker")
    run.wait_for(lambda: "Redis is empty" in run.refusal, 60, "the worker refuses")
    assert "3 jobs accepted" in run.refusal
    run.wait_for(lambda: run.log().count("boomerang-server recover") == 1, 30, "it is logged once")
    # A Celery message is kept until an operator runs the recovery, and does not fail.
    sent = run.producer.send_task(
        "boomerang.generate", kwargs={"model": "kirin_image_omni", "prompt": "a fox"}, task_id="sent", queue="celery"
    )
    again = "sent: not finished, its message is sent again"
    run.wait_for(lambda: run.log().count(again) > CELERYS_ATTEMPTS, 60, "it is put off")
    assert sent.state == "PENDING"
    run.recover()
    run.wait_for(lambda: run.enqueue("new"), 30, "jobs are accepted")
    run.wait_for(lambda: run.store.jobs.get_many(["sent"])[0], 30, "the message is recorded")
    assert sent.state == "PENDING"
    assert run.refusal == ""


def test_older_truncated_data_is_refused_until_recovery(run: Running) -> None:
    run.client.bgrewriteaof()
    run.wait_for(lambda: run.client.info("persistence")["aof_rewrite_in_progress"] == 0, 30)
    (newest,) = [
        max(files) for path in run.aof() if (files := [path] if path.is_file() else [*path.glob("*.incr.aof")])
    ]
    size = newest.stat().st_size
    run.enqueue("owl", "bat")
    seen(run, 3)
    run.end("redis")
    run.end("worker")
    run.end("beat")
    os.truncate(newest, size + 20)
    run.start_redis()
    assert run.store.jobs.get_many(["fox", "owl"])[1] is None
    # A producer enqueues before any worker has checked.
    assert run.enqueue("later-1", "later-2", "later-3")
    run.start("worker")
    run.start("beat")
    run.wait_for(lambda: "2 accepted jobs may be lost" in run.refusal, 60, "the worker refuses")
    assert not run.enqueue("new")
    assert run.store.jobs.get("later-1").state is State.QUEUED
    run.recover()
    run.wait_for(lambda: run.enqueue("new"), 30, "jobs are accepted")


def test_a_tolerated_loss_does_not_stop_the_service(tmp_path: Path, wait_for: WaitFor) -> None:
    with _running(tmp_path, wait_for, BOOMERANG_TOLERATED_LOSS="3600") as run:
        (newest,) = [
            max(files) for path in run.aof() if (files := [path] if path.is_file() else [*path.glob("*.incr.aof")])
        ]
        seen(run, 1)
        size = newest.stat().st_size
        run.enqueue("owl")
        seen(run, 2)
        run.end("redis")
        os.truncate(newest, size)
        run.start_redis()
        run.wait_for(lambda: "1 accepted job may be lost" in run.log(), 60, "the worker reports the loss")
        run.wait_for(lambda: run.enqueue("owl"), 30, "jobs are accepted")
        assert run.refusal == ""
