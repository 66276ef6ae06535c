"""With BOOMERANG_LOG_FORMAT=json, every process logs JSON objects only, those of its libraries included."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops import access
from ops.local.redis_server import find_binary, free_port, is_ready
from tests.support.worker_service import Processes
from tests.support.world import MakeWorld

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]
ROOT = Path(__file__).parents[2]
JSON = {"BOOMERANG_LOG_FORMAT": "json"}


def events(text: str) -> list[dict[str, Any]]:
    """Parse a log, every line of which must be a JSON object."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "process", "message"} <= event.keys() for event in found)
    return found


def messages(text: str) -> str:
    return "\n".join(event["message"] + event.get("error", "") for event in events(text))


def test_all_output_of_worker_and_beat_is_json(
    env: dict[str, str], processes: Processes, world: MakeWorld, wait_for: WaitFor
) -> None:
    # Without -q, Celery prints its banner and its shutdown message without a logger
    worker, worker_log = processes.start(env | JSON, "worker")
    beat, beat_log = processes.start(env | JSON, "beat")
    w = world()
    w.enqueue("job-1")
    wait_for(lambda: w.job().state.final, 60, "they work")
    for process in (beat, worker):
        process.terminate()
        assert process.wait(60) == 0
    assert "Warm shutdown" in messages(worker_log.read_text())
    # The banner lists the queues
    assert "boomerang.submit" in messages(worker_log.read_text())
    assert "is starting" in messages(beat_log.read_text())


@pytest.mark.parametrize("command", ["worker", "beat", "flower"])
def test_invalid_settings_are_reported_as_json(env: dict[str, str], processes: Processes, command: str) -> None:
    wrong = {"BOOMERANG_DEADLINE": "never", "BOOMERANG_CONCURRENCY": "many", "BOOMERANG_EVENTS": "perhaps"}
    process, log = processes.start(env | JSON | wrong, command)
    assert process.wait(60) == 1
    (event,) = [event for event in events(log.read_text()) if "BOOMERANG_" in event["message"]]
    assert all(name in event["message"] for name in wrong)


def test_an_unknown_option_is_reported_as_json(env: dict[str, str], processes: Processes) -> None:
    process, log = processes.start(env | JSON, "worker", "--no-such-option")
    assert process.wait(60) == 2
    assert "--no-such-option" in messages(log.read_text())


GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "python:webhook.gunicorn_conf", "webhook.wsgi:app"]


@pytest.mark.parametrize(("more", "code"), [({}, 0), ({"BOOMERANG_DEADLINE": "never"}, 1)])
def test_all_output_of_gunicorn_is_json(
    env: dict[str, str], tmp_path: Path, wait_for: WaitFor, more: dict[str, str], code: int
) -> None:
    log = tmp_path / "log"
    ours = {name: value for name, value in env.items() if "PROVIDER" not in name}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*GUNICORN, "--bind", "127.0.0.1:0"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **ours, **JSON, **more},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        if code == 0:
            wait_for(lambda: "Booting worker" in log.read_text(), 60, "it serves")
            process.terminate()
        assert process.wait(60) == code
    finally:
        process.kill()
        process.wait()
    assert events(log.read_text())


def test_all_output_of_the_simulator_is_json(tmp_path: Path, wait_for: WaitFor) -> None:
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ops.simulator"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **JSON},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "listening" in log.read_text(), 30, "it listens")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert "listening on http://127.0.0.1:" in messages(log.read_text())


class Redis:
    """A Redis server, started as docker-compose.yml starts it."""

    def __init__(self, folder: Path, *options: str, **env: str) -> None:
        self.port = free_port()
        (folder / "bin").mkdir()
        (folder / "bin" / "redis-server").symlink_to(find_binary())
        passwords = {f"BOOMERANG_REDIS_PASSWORD_{user.upper()}": "a-password" for user in access.users("broker")}
        place = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(folder)}
        self.log = folder / "log"
        arguments = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                ["sh", str(ROOT / "ops" / "access" / "start.sh"), "broker", *arguments, *options],
                env={**passwords, **place, **JSON, **env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def up(self) -> bool:
        return is_ready(f"redis://health:any@127.0.0.1:{self.port}/0")

    @property
    def server(self) -> int:
        """The process id of redis-server, from its log."""
        return next(event["process"] for event in events(self.log.read_text()) if event["process"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_redis_logs_json_until_it_exits(tmp_path: Path, wait_for: WaitFor, number: int, code: int) -> None:
    redis = Redis(tmp_path)
    wait_for(redis.up, 30, "it answers")
    redis.process.send_signal(number)
    assert redis.process.wait(30) == code
    # The last line is complete, with redis-server's time and process id
    last = events(redis.log.read_text())[-1]
    assert "ready to exit" in last["message"]
    assert last["process"] > 0
    assert last["time"].endswith("+00:00")
    assert not redis.up()


def test_a_killed_redis_passes_on_its_exit_code(tmp_path: Path, wait_for: WaitFor) -> None:
    redis = Redis(tmp_path)
    wait_for(redis.up, 30, "it answers")
    os.kill(redis.server, signal.SIGKILL)
    assert redis.process.wait(30) == 128 + signal.SIGKILL
    assert events(redis.log.read_text())


@pytest.mark.parametrize(
    ("options", "env", "expected"),
    [
        (("--no-such-option", 'a "quoted" \\ word\twith é'), {}, "no-such-option"),
        ((), {"BOOMERANG_REDIS_PASSWORD_BEAT": ""}, "BOOMERANG_REDIS_PASSWORD_BEAT"),
    ],
)
def test_redis_that_cannot_start_reports_why_as_json(
    tmp_path: Path, options: tuple[str, ...], env: dict[str, str], expected: str
) -> None:
    redis = Redis(tmp_path, *options, **env)
    assert redis.process.wait(30) == 1
    assert expected in messages(redis.log.read_text())
