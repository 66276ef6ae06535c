"""Progress on stderr: bars on a terminal; a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from boomerang_client.cli.render import counts_text, pace_text
from boomerang_client.cli.screen import Screen
from boomerang_client.records import Batch
from boomerang_client.responses import BatchAccepted

QUIET_SECONDS = 10.0  # between two plain lines


class RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class BatchProgress(Progress):
    """A bar with the rate and ETA that the service tells, and the counts per state on a line below it."""

    def __init__(self, console: Console) -> None:
        self.states = Text()
        super().__init__(BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield self.states


@contextmanager
def watching(screen: Screen, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[Batch], None]]:
    """Shows a batch each time the yielded function is called with it."""
    if not screen.err.is_terminal:
        yield _plain_lines(screen, clock)
        return
    with BatchProgress(screen.err) as progress:
        task = progress.add_task("", total=None)

        def show(batch: Batch) -> None:
            progress.states = counts_text(batch)
            pace = pace_text(batch)
            progress.update(task, total=batch.accepted, completed=batch.finished, description=pace, refresh=True)

        yield show


def _plain_lines(screen: Screen, clock: Callable[[], float]) -> Callable[[Batch], None]:
    last: list[tuple[float, str]] = []

    def show(batch: Batch) -> None:
        line = f"{batch.finished} of {batch.accepted} ended: {counts_text(batch)}"
        now = clock()
        if not last or (line != last[0][1] and (batch.done or now - last[0][0] >= QUIET_SECONDS)):
            last[:] = [(now, line)]
            screen.tell(line)

    return show


@contextmanager
def sending(screen: Screen, file: BinaryIO) -> Iterator[Callable[[BatchAccepted], None] | None]:
    """Shows how much of the file was sent and what became of it, at each call; nothing without a terminal."""
    if not screen.err.is_terminal:
        yield None
        return
    size = _size(file)
    taken = TextColumn("{task.description}")
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), taken)
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task("sending", total=size)

        def show(accepted: BatchAccepted) -> None:
            at = size if file.closed else file.tell() if size is not None else None
            rejected = f", {accepted.rejected:,} rejected" if accepted.rejected else ""
            jobs = f"{accepted.accepted + accepted.known:,} jobs{rejected}"
            progress.update(task, completed=at, description=jobs, refresh=True)

        yield show


@contextmanager
def counting(screen: Screen, what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Shows things arriving, one a call; nothing without a terminal."""
    if not screen.err.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _size(file: BinaryIO) -> int | None:
    if not file.seekable():
        return None
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size
