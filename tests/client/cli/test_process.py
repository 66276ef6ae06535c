"""The command as a process: Ctrl-C, broken pipes, pressed keys, completion in a real shell."""

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Client
from tests.support.fake_boomerang import FakeService
from tests.support.waiting import WaitFor

pytestmark = pytest.mark.stack


REQUEST = {"model": "kirin_image_omni", "prompt": "A red boat"}
COMMAND = Path(sys.executable).with_name("boomerang")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(service: FakeService) -> Iterator[Start]:
    """`start("watch", "b")` starts the command in the background."""
    running: list[subprocess.Popen[str]] = []

    def one(*args: str, **options: Any) -> subprocess.Popen[str]:
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen([COMMAND, *args], **(given | options)))
        return running[-1]

    yield one
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def spring(service: FakeService, client: Client) -> str:
    """A batch that does not end."""
    service.per_look = 0
    return client.batch([REQUEST] * 3, "spring").id


def test_ctrl_c_stops_watching_never_the_batch(
    service: FakeService, start: Start, spring: str, wait_for: WaitFor
) -> None:
    watching = start("watch", spring)
    wait_for(lambda: "GET /v1/batches/spring/events" in service.paths())
    watching.send_signal(signal.SIGINT)
    _, stderr = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert "The batch continues. Watch it again: boomerang watch spring" in stderr
    assert "Traceback" not in stderr
    assert [path for path in service.paths() if path.startswith("POST")] == ["POST /v1/batches"]


def test_ctrl_c_stops_following_and_saving(
    service: FakeService, start: Start, spring: str, tmp_path: Path, wait_for: WaitFor
) -> None:
    service.files = {"spring.1.png": b"\x89PNG\r\n\x1a\npixels"}
    service.end("spring.1")
    saving = start("save", spring, "--follow", "-o", str(tmp_path / "out"))
    wait_for((tmp_path / "out" / "spring.1-1.png").exists)
    saving.send_signal(signal.SIGINT)
    assert "fetches the rest" in saving.communicate(timeout=10)[1]
    assert saving.returncode == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["spring.1-1.png"]

    results = start("results", spring, "--follow", "-o", str(tmp_path / "results.jsonl"))
    wait_for(lambda: any(tmp_path.glob(".boomerang-*.part")) and service.paths()[-1].endswith("/events"))
    results.send_signal(signal.SIGINT)
    assert "The batch continues" in results.communicate(timeout=10)[1]
    assert (results.returncode, [path.name for path in tmp_path.iterdir()]) == (130, ["out"])


def test_an_upload_interrupted_by_ctrl_c_can_be_repeated(
    service: FakeService, start: Start, tmp_path: Path, wait_for: WaitFor
) -> None:
    # Given an upload whose lines come slowly
    reading, writing = os.pipe()
    sending = start("enqueue", "-", "--id", "b", stdin=reading)
    os.close(reading)
    os.write(writing, json.dumps(REQUEST).encode() + b"\n")
    wait_for(lambda: not _unread(writing))
    sending.send_signal(signal.SIGINT)
    _, stderr = sending.communicate(timeout=10)
    os.close(writing)
    assert (sending.returncode, "repeat the command with --id b. Nothing is paid twice" in stderr) == (130, True)
    # When the same upload is repeated several times
    lines = tmp_path / "jobs.jsonl"
    lines.write_text(json.dumps(REQUEST) + "\n")
    for _ in range(2):
        assert start("enqueue", str(lines), "--id", "b").wait(10) == 0
    # Then there is one job
    assert service.batches["b"] == ["b.1"]


def _unread(pipe: int) -> int:
    """Return how many bytes in the pipe are unread."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_closed_pipe_is_not_an_error(service: FakeService, start: Start, client: Client) -> None:
    client.batch([REQUEST | {"prompt": "x" * 50}] * 2000, "b")
    results = start("results", "b")
    assert results.stdout is not None
    assert json.loads(results.stdout.readline())["id"] == "b.1"
    results.stdout.close()
    assert results.wait(10) in (0, 1)
    assert results.stderr is not None
    assert results.stderr.read() == ""


def test_top_updates_and_q_ends_it(service: FakeService, start: Start, spring: str, wait_for: WaitFor) -> None:
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    watching = start("top", "--interval", "0.2s", stdin=theirs, stdout=theirs, stderr=theirs, text=False, env=env)
    os.close(theirs)
    screen = bytearray()

    def look() -> bytearray:
        screen.extend(os.read(ours, 65536))
        return screen

    wait_for(lambda: b"spring" in look() and b"paused: 402: balance exhausted" in screen)
    wait_for(lambda: look() and service.paths().count("GET /v1/lanes") >= 3)
    os.write(ours, b"q")
    assert watching.wait(10) == 0
    os.close(ours)


def test_bash_completes_commands_and_options(service: FakeService, tmp_path: Path) -> None:
    script = f"""
    PATH={COMMAND.parent}:$PATH
    eval "$(boomerang completion bash)"
    COMP_WORDS=(boomerang re) COMP_CWORD=1
    _boomerang_completion boomerang && echo "${{COMPREPLY[@]}}"
    COMPREPLY=() COMP_WORDS=(boomerang retry --dr) COMP_CWORD=2
    _boomerang_completion boomerang && echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("receivers replay results resume retry\n--dry-run\n", "")
    assert service.seen == []


def test_bash_completes_ids_of_batches(service: FakeService, client: Client, spring: str) -> None:
    client.batch([REQUEST | {"external_task_id": "x"}], "summer")
    script = f"""
    PATH={COMMAND.parent}:$PATH
    eval "$(boomerang completion bash)"
    for words in "watch sp" "cancel s" "list --batch su"; do
        COMPREPLY=() COMP_WORDS=(boomerang $words) COMP_CWORD=$(echo $words | wc -w)
        _boomerang_completion boomerang && echo $(printf '%s\\n' "${{COMPREPLY[@]}}" | sort)
    done
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("spring\nspring summer\nsummer\n", "")
    # without a service there are no completions and no error messages
    env = os.environ | {"BOOMERANG_URL": "http://127.0.0.1:1"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_without_click_the_library_works_and_the_command_names_it(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError(name='click')\n")
    env = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]}
    code = "import boomerang_client, sys; print('rich' in sys.modules)\nfrom boomerang_client.cli import main"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == ("False\n", 1)
    assert re.search("pip install .*click", done.stderr)
