import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.fake_boomerang import FakeService
from tests.support.generation_requests import LINES, ndjson


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(ndjson(LINES))
    return str(path)


@pytest.fixture
def spring(service: FakeService, run: Command, file: str) -> str:
    """A batch of two queued jobs, spring.1 and spring.3. Jobs end only when a test ends them."""
    service.still = True
    run("enqueue", file, "--id", "spring")
    service.seen.clear()
    return "spring"


@pytest.fixture
def ctrl_c(service: FakeService) -> Callable[[], None]:
    """Return a function that presses Ctrl-C during the next request."""

    def arm() -> None:
        def press() -> None:
            service.on_request = lambda: None
            thread = threading.main_thread().ident
            assert thread is not None
            signal.pthread_kill(thread, signal.SIGINT)

        service.on_request = press

    return arm
