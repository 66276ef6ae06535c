"""Faults for a running stack."""

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ops.local.stack import LocalStack


@contextmanager
def killing(stack: LocalStack, names: tuple[str, ...], every: float, times: int | None = None) -> Iterator[None]:
    """Kill these processes in turn by SIGKILL until the block ends, `times` times at most."""
    over = threading.Event()

    def kill() -> None:
        for name in itertools.islice(itertools.cycle(names), times):
            if over.wait(every):
                return
            if pid := stack.pids().get(name):
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
