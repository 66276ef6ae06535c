"""Read single keys from the terminal, without waiting for the end of a line."""

import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    import termios
    import tty
except ModuleNotFoundError:  # Windows: only Ctrl-C works there
    termios = tty = None  # type: ignore[assignment]


@contextmanager
def key_presses() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits up to so many seconds for a key and returns it, or "".

    Without a terminal it only waits. The block restores the terminal's settings at its end.
    """
    if termios is None or not sys.stdin.isatty():
        yield _sleep
        return
    descriptor = sys.stdin.fileno()
    settings = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def wait_for_key(seconds: float) -> str:
        ready, _, _ = select.select([descriptor], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        yield wait_for_key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return ""
