"""Show the progress of a batch: as a bar with rich on a terminal, otherwise as plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from boomerang_client.progress_text import progress_text
from boomerang_client.record_fields import BatchFields
from boomerang_client.terminal import plain

SECONDS_BETWEEN_LINES = 10.0

ShowProgress = Callable[[BatchFields], None]


@contextmanager
def show_on_stderr() -> Iterator[ShowProgress]:
    """Yield a function that shows a batch on stderr each time it is called.

    On a terminal it draws a bar with rich, if rich is installed. Otherwise it writes plain lines.
    """
    if sys.stderr.isatty() and find_spec("rich"):
        # Loaded here, because the library works without rich and must not load it for callers that show no progress.
        bar = import_module("boomerang_client.batch_bar")
        with bar.on_stderr() as show:
            yield show
    else:
        yield plain_lines(lambda line: sys.stderr.write(f"{plain(line)}\n"))


def plain_lines(write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> ShowProgress:
    """Return a function that writes a batch's progress: the first line, the last one, and one every 10 s between."""
    last: list[tuple[float, str]] = []

    def show(batch: BatchFields) -> None:
        line, now = progress_text(batch), clock()
        due = not last or batch.done or now - last[0][0] >= SECONDS_BETWEEN_LINES
        if due and (not last or line != last[0][1]):
            last[:] = [(now, line)]
            write(line)

    return show
