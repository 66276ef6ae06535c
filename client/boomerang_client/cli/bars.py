"""Progress on stderr: bars on a terminal; a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from boomerang_client.cli.render import counts_text
from boomerang_client.cli.screen import Screen
from boomerang_client.records import Batch

QUIET_SECONDS = 10.0  # between two plain lines


class RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class BatchProgress(Progress):
    """A bar with rate and ETA, and the counts per state on a line below it."""

    def __init__(self, console: Console) -> None:
        self.states = Text()
        rest = TimeRemainingColumn(elapsed_when_finished=True)
        super().__init__(BarColumn(), MofNCompleteColumn(), RateColumn(), rest, console=console)

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
        # One task from the first look on: what was finished before counts for the bar, not for the rate.
        tasks: list[TaskID] = []

        def show(batch: Batch) -> None:
            progress.states = counts_text(batch)
            if not tasks:
                tasks.append(progress.add_task("", total=batch.accepted, completed=batch.finished))
            progress.update(tasks[0], total=batch.accepted, completed=batch.finished, refresh=True)

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
def sending(screen: Screen, total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Shows an upload's bytes each time the yielded function is called with them; nothing without a terminal."""
    if not screen.err.is_terminal:
        yield None
        return
    columns = (TextColumn("sending"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda sent: progress.update(task, completed=sent)


@contextmanager
def counting(screen: Screen, total: int) -> Iterator[Callable[[], None]]:
    """Shows results arriving, one a call; nothing without a terminal."""
    if not screen.err.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("results"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)
