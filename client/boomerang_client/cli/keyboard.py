"""Single keys from the terminal, without waiting for the end of a line."""

import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

try:
    import termios
    import tty
except ModuleNotFoundError:  # Windows: Ctrl-C has to do there
    termios = tty = None  # type: ignore[assignment]


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds and gives what was pressed, at once if something is; "" where nothing can.

    The terminal is as before when the block ends.
    """
    if termios is None or not sys.stdin.isatty():
        yield _sleep
        return
    place = sys.stdin.fileno()
    before = termios.tcgetattr(place)
    tty.setcbreak(place)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([place], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(place, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return ""
