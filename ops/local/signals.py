"""Ctrl-C, SIGTERM and SIGHUP mean the same: end everything, in order; said twice, at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Somebody wants this process to end. Like KeyboardInterrupt no Exception, so nothing takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        #: what a shell expects from a process that ended so
        self.exit_code = 128 + number


@contextmanager
def ending(again: Callable[[], None]) -> Iterator[None]:
    """Within the block the first signal raises `Ended` in the main thread; each further one calls `again`."""
    seen = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            again()
            return
        seen = True
        raise Ended(number)

    before = {number: signal.signal(number, handle) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
