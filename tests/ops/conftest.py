import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.local_stack import StackProcess, StartStack
from tests.support.waiting import wait_for


@contextmanager
def starting(folder: Path) -> Iterator[StartStack]:
    """Yield a function that starts stacks in the folder. They are stopped when the block ends."""
    started: list[StackProcess] = []

    def start_one(name: str, *options: str, wait: bool = True) -> StackProcess:
        server = StackProcess(folder / name, folder / f"{len(started)}.screen", *options)
        started.append(server)
        if wait:
            wait_for(server.is_up, timeout=60, message="the stack is up")
        return server

    try:
        yield start_one
    finally:
        for server in started:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
        for server in started:
            server.process.wait(60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartStack]:
    """`start("name", *options)` starts a stack, which is stopped at the end of the test."""
    with starting(tmp_path) as start_one:
        yield start_one


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """One stack for the tests of a file that leave it running. Its provider takes 0.2 s for a job."""
    with starting(tmp_path_factory.mktemp("shared")) as start_one:
        yield start_one("data", "--sim", "--latency 0.2", "--no-flower")
