"""A real stack whose processes are stopped one at a time: every view names the cause, and takes it back."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import requests
from click.testing import CliRunner

from boomerang_client import Client
from boomerang_client.cli import main as client_command
from ops.cli import main as server_command
from ops.doctor.check import Level
from ops.doctor.service import check_rounds
from ops.local.stack import LocalStack, Options
from ops.local.stall_watch import StallWatch
from tests.support.waiting import WaitFor
from worker.settings import Settings as WorkerSettings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420), pytest.mark.skipif(sys.platform != "linux", reason="/proc")]
REQUESTS = [{"model": "kirin_image_omni", "prompt": "a boat"}] * 40


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What `boomerang-server up` would print about the service."""
    return []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, printed: list[str]) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("stall") / "stack"
    options = Options(folder=folder, flower=False, simulator="--latency 1-2", warnings=False)

    def report(name: str, line: str) -> None:
        if name == "service":
            printed.append(line)

    with LocalStack(options, lambda *_: None) as stack, StallWatch(stack.redis_url, report):
        yield stack


@contextmanager
def stopped(stack: LocalStack, name: str) -> Iterator[None]:
    """Stop a process, and what it has started, until the block ends."""
    process = psutil.Process(stack.pids()[name])
    family = [process, *process.children(recursive=True)]
    for each in family:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in family:
            each.send_signal(signal.SIGCONT)


def readiness(stack: LocalStack) -> tuple[int, Any]:
    answer = requests.get(f"{stack.url}/readyz", timeout=20)
    return answer.status_code, answer.json()


def metrics(stack: LocalStack) -> str:
    return requests.get(f"{stack.url}/metrics", headers={"Authorization": f"Bearer {stack.key}"}, timeout=20).text


def codes(stack: LocalStack) -> list[str]:
    return [trouble["code"] for trouble in readiness(stack)[1]["troubles"]]


def run(command: Any, *arguments: str, **env: str) -> str:
    return CliRunner().invoke(command, list(arguments), env=env).output


def test_a_stopped_worker_is_loud_everywhere(stack: LocalStack, printed: list[str], wait_for: WaitFor) -> None:
    ours = {"BOOMERANG_URL": stack.url, "BOOMERANG_KEY": stack.key}
    with Client(stack.url, stack.key) as client:
        # Given a lane that knows how long a job takes
        client.batch(REQUESTS, id="before").wait(timeout=60)
        wait_for(lambda: not codes(stack), 30)
        assert client.overview().troubles == ()
        with stopped(stack, "worker"):
            batch = client.batch(REQUESTS, id="during")
            assert batch.refresh().eta is None
            wait_for(lambda: codes(stack) == ["no_worker"], 40)
            status, ready = readiness(stack)
            # The webhook still does its own work
            assert (status, ready["ready"], ready["dependencies"]["broker"]) == (200, True, "ok")
            assert ready["last_round_age"] > 10
            batch.refresh()
            assert batch.eta is None
            assert "no worker answers" in (batch.reason or "")
            assert client.job("during.1").reason == batch.reason
            assert [trouble.code for trouble in client.overview().troubles] == ["no_worker"]
            assert run(client_command, "top", **ours).startswith("trouble\tno_worker\t")
            assert "no worker answers" in run(client_command, "lanes", **ours)
            assert "no worker answers" in run(client_command, "show", "during", **ours)
            assert run(server_command, "stuck", BOOMERANG_REDIS_URL=stack.redis_url).startswith("service\tno_worker\t")
            assert 'boomerang_trouble{code="no_worker"} 1.0' in metrics(stack)
            settings = WorkerSettings(redis_url=stack.redis_url, broker_url=stack.broker_url, recovery=False)
            assert Level.BAD in {found.level for found in check_rounds(settings)}
            wait_for(lambda: len(printed) == 1, 20)
            assert "no worker answers" in printed[0]
        # Then all is well again within a few seconds
        wait_for(lambda: not codes(stack), 20)
        assert batch.wait(timeout=90).reason is None
    wait_for(lambda: len(printed) == 2, 20)
    assert printed.pop().startswith("works again")
    printed.clear()


def test_a_stopped_beat_is_told_from_a_stopped_worker(stack: LocalStack, printed: list[str], wait_for: WaitFor) -> None:
    seen: list[str] = []
    with stopped(stack, "beat"):
        wait_for(lambda: seen.extend(codes(stack)) or "beat_away" in seen, 60)
        assert set(seen) <= {"stalled", "beat_away"}
        wait_for(lambda: any("beat is away" in line for line in printed), 20)
    wait_for(lambda: not codes(stack), 20)
    printed.clear()


def test_a_silent_broker_is_told_from_both(stack: LocalStack, wait_for: WaitFor) -> None:
    with Client(stack.url, stack.key) as client:
        with stopped(stack, "broker"):
            # The webhook asks the broker itself; others learn it from the workers
            wait_for(lambda: readiness(stack)[0] == 503, 40)
            assert codes(stack) == ["broker_away"]
            wait_for(lambda: [each.code for each in client.overview().troubles] == ["broker_away"], 60)
        wait_for(lambda: readiness(stack)[0] == 200 and not codes(stack), 60)
        assert client.overview().troubles == ()
