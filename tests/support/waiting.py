"""Wait for a condition, with a limit."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import pytest

T = TypeVar("T")


class WaitFor(Protocol):
    """The type of the fixture `wait_for`."""

    def __call__(self, condition: Callable[[], T], timeout: float = 10.0, message: str = "") -> T: ...


def wait_for(condition: Callable[[], T], timeout: float = 10.0, message: str = "") -> T:
    """Return the first true value of `condition()`. Fail the test after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {timeout} s: {message or condition}")
        time.sleep(0.01)
    return value
