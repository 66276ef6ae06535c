"""`batch.wait(progress=True)`: one line on stderr, rewritten on a terminal; now and then a new one elsewhere."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TextIO

from boomerang_client.records import Batch, Status

WIDTH = 24
QUIET_SECONDS = 10.0  # between two lines where there is no terminal


def described(batch: Batch) -> str:
    """Where a batch is, in a line: "spring  [======    ]  4,210/10,000  37.5/s  ETA 0:02:34  3 failed"."""
    share = batch.finished / batch.accepted if batch.accepted else 1.0
    parts = [batch.id, f"[{'=' * int(WIDTH * share):<{WIDTH}}]", f"{batch.finished:,}/{batch.accepted:,}"]
    if not batch.done:
        parts += [f"{batch.rate:.1f}/s"] if batch.rate else []
        parts += ["paused"] if batch.paused else [] if batch.eta is None else [f"ETA {duration(batch.eta)}"]
    bad = {status: batch.counts.get(status, 0) for status in (Status.FAILED, Status.EXPIRED, Status.CANCELLED)}
    parts += [f"{number:,} {status}" for status, number in bad.items() if number]
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """As 0:02:34, with days before it where there are any."""
    return str(timedelta(seconds=round(seconds)))


class Meter:
    """Shows a batch each time that it is called with one."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out or sys.stderr, clock
        self._last, self._at = "", -QUIET_SECONDS

    def __call__(self, batch: Batch) -> None:
        line, now = described(batch), self._clock()
        if self._out.isatty():
            end = "\n" if batch.done else ""
            self._out.write(f"\r{line:<{len(self._last)}}{end}")
        elif line != self._last and (batch.done or now - self._at >= QUIET_SECONDS):
            self._out.write(f"{line}\n")
            self._at = now
        else:
            return
        self._last = line
        self._out.flush()
