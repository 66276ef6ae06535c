"""Show the progress of a batch: as a bar with rich on a terminal, otherwise as plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec

from boomerang_client.records import Batch
from boomerang_client.terminal import clean

SECONDS_BETWEEN_LINES = 10.0

ShowProgress = Callable[[Batch], None]


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
        yield plain_lines(lambda line: sys.stderr.write(f"{line}\n"))


def plain_lines(write: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> ShowProgress:
    """Return a function that writes a batch's progress: the first line, the last one, and one every 10 s between."""
    last: list[tuple[float, str]] = []

    def show(batch: Batch) -> None:
        line, now = progress_text(batch), clock()
        due = not last or batch.done or now - last[0][0] >= SECONDS_BETWEEN_LINES
        if due and (not last or line != last[0][1]):
            last[:] = [(now, line)]
            write(line)

    return show


def progress_text(batch: Batch) -> str:
    """Describe a batch in one line: "5 of 20 ended: 1 failed, 4 completed, 15 queued; 2.5/s, ETA 0:01:00"."""
    parts = [pace_text(batch)] if pace_text(batch) else []
    parts += [clean(batch.reason)] if batch.reason and not batch.done else []
    return "; ".join([f"{batch.finished:,} of {batch.accepted:,} ended: {counts_text(batch)}", *parts])


def counts_text(batch: Batch) -> str:
    """Count the jobs by state, the final states first: "190 completed, 4 failed, 6 in progress"."""
    parts = [f"{number:,} {status.words}" for status, number in batch.by_state()]
    return ", ".join(parts) or "no jobs"


def pace_text(batch: Batch) -> str:
    """Say how fast a batch proceeds and when it ends: "37.5/s, ETA 0:02:34", "paused", or "" once it is done."""
    if batch.done:
        return ""
    if batch.paused:
        return "paused"
    parts = [f"{batch.rate:.1f}/s"] if batch.rate else []
    parts += [] if batch.eta is None else [f"ETA {duration_text(batch.eta)}"]
    return ", ".join(parts)


def duration_text(seconds: float) -> str:
    """Write a duration as 0:02:34, preceded by days if there are any."""
    return str(timedelta(seconds=round(seconds)))
