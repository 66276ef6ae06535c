"""Ctrl-C, SIGTERM and SIGHUP request an orderly stop; a second one requests an immediate stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """A signal asked this process to stop. A BaseException, as KeyboardInterrupt is, so that no handler catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        #: the exit code that shells expect after this signal
        self.exit_code = 128 + number


@contextmanager
def stop_on_signal(again: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the first signal raises `StopRequested` in the main thread; later ones call `again`."""
    seen = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        if seen:
            again()
            return
        seen = True
        raise StopRequested(number)

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
