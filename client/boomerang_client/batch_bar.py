"""Draw the progress of a batch on a terminal. Needs rich, which the extra `cli` installs."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from boomerang_client.progress_text import pace_text
from boomerang_client.record_fields import BatchFields, Status
from boomerang_client.safe_console import SafeConsole
from boomerang_client.terminal import clean

STYLES = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.EXPIRED: "red",
    Status.CANCELLED: "magenta",
    Status.IN_DOUBT: "yellow",
    Status.IN_PROGRESS: "cyan",
}
BAR_WIDTH = 30


def counts_line(batch: BatchFields) -> Text:
    """Count the jobs by state, in the colours of the states: "190 completed, 4 failed, 6 in progress"."""
    parts = [Text(f"{number:,} {status.words}", STYLES.get(status, "")) for status, number in batch.by_state()]
    return Text(", ").join(parts) if parts else Text("no jobs")


class BatchBar(Progress):
    """A bar with rate and ETA, the counts by state below it, and the reason why the batch waits on its own line."""

    def __init__(self, console: Console) -> None:
        self._batch: BatchFields | None = None
        columns = (BarColumn(BAR_WIDTH), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        super().__init__(*columns, console=console)
        self._bar = self.add_task("", total=None, visible=False)

    def show(self, batch: BatchFields) -> None:
        """Draw the batch as it is now."""
        self._batch = batch
        pace = "done" if batch.done else pace_text(batch)
        self.update(self._bar, total=batch.accepted, completed=batch.finished, description=pace)
        self.update(self._bar, visible=True, refresh=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self._batch is not None:
            yield counts_line(self._batch)
            if self._batch.reason and not self._batch.done:
                yield Text(clean(self._batch.reason), "yellow")


@contextmanager
def drawn_on(console: Console) -> Iterator[Callable[[BatchFields], None]]:
    """Yield a function that draws a batch on the console each time it is called."""
    with BatchBar(console) as bar:
        yield bar.show


@contextmanager
def on_stderr() -> Iterator[Callable[[BatchFields], None]]:
    """Yield a function that draws a batch on stderr each time it is called."""
    with drawn_on(SafeConsole(sys.stderr)) as show:
        yield show
