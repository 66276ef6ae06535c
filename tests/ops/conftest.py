import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_stack import StackProcess, StartStack
from tests.support.waiting import WaitFor


@pytest.fixture
def start(tmp_path: Path, wait_for: WaitFor) -> Iterator[StartStack]:
    """`start("name", *options)` starts a stack, which is stopped at the end of the test."""
    started: list[StackProcess] = []

    def start_one(name: str, *options: str, wait: bool = True) -> StackProcess:
        server = StackProcess(tmp_path / name, tmp_path / f"{len(started)}.screen", *options)
        started.append(server)
        if wait:
            wait_for(server.is_up, timeout=60, message="the stack is up")
        return server

    yield start_one
    for server in started:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
