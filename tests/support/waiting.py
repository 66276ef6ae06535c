"""Limits for what takes time: they grow with the load of the machine, so that they only catch what never ends."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import pytest

T = TypeVar("T")

#: A test is cancelled after 240 s, and says less then than a limit that was exceeded.
MOST_GROWTH = 3.0


class WaitFor(Protocol):
    """The type of the fixture `wait_for`."""

    def __call__(self, condition: Callable[[], T], timeout: float = 10.0, message: str = "") -> T: ...


def wait_for(condition: Callable[[], T], timeout: float = 10.0, message: str = "") -> T:
    """Return the first true value of `condition()`. Fail the test after `timeout` seconds, later under load."""
    began = time.monotonic()
    while not (value := condition()):
        if time.monotonic() - began > timeout and time.monotonic() - began > timeout * load():
            pytest.fail(f"not within {timeout} s: {message or condition}")
        time.sleep(0.01)
    return value


@contextmanager
def within(timeout: float) -> Iterator[None]:
    """Fail the test if the block takes longer than `timeout` seconds, later under load."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < timeout * load(), f"took {took:.1f} s"


def load() -> float:
    """Return how many processes want each processor: 1 on a quiet machine, at most `MOST_GROWTH`."""
    return min(max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)), MOST_GROWTH)
