"""Show progress on stderr: bars on a terminal, plain lines or nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

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

from boomerang_client.batch_bar import drawn_on
from boomerang_client.cli.screen import Screen
from boomerang_client.progress_line import plain_lines
from boomerang_client.records import Batch
from boomerang_client.responses import BatchAccepted


class RateColumn(ProgressColumn):
    """Shows items per second."""

    def render(self, task: Task) -> Text:
        """Draw the rate, or nothing while it is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


@contextmanager
def watching(screen: Screen) -> Iterator[Callable[[Batch], None]]:
    """Yield a function that shows a batch each time it is called."""
    if screen.err.is_terminal:
        with drawn_on(screen.err) as show:
            yield show
    else:
        yield plain_lines(screen.message)


@contextmanager
def sending(screen: Screen, file: BinaryIO) -> Iterator[Callable[[BatchAccepted], None] | None]:
    """Yield a function that shows how much of the file was sent, and the outcome so far.

    Yields None without a terminal.
    """
    if not screen.err.is_terminal:
        yield None
        return
    size = _size(file)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.description}", markup=False), console=screen.err, transient=True
    ) as progress:
        task = progress.add_task("sending", total=size)

        def show(accepted: BatchAccepted) -> None:
            sent = size if file.closed else file.tell() if size is not None else None
            rejected = f", {accepted.rejected:,} rejected" if accepted.rejected else ""
            jobs = f"{accepted.accepted + accepted.known:,} jobs{rejected}"
            progress.update(task, completed=sent, description=jobs, refresh=True)

        yield show


@contextmanager
def counting(screen: Screen, what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Yield a function to call for each item that arrives. It shows nothing without a terminal."""
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
    position = file.tell()
    size = file.seek(0, 2)
    file.seek(position)
    return size
