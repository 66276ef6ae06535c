"""The demo on the console: a bar of the jobs by state while it runs, and a table at the end."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from boomerang_client import Batch, Status
from ops.demo.verdict import Verdict

COLOURS: Mapping[Status, str] = {
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.EXPIRED: "magenta",
    Status.CANCELLED: "bright_black",
    Status.IN_PROGRESS: "blue",
    Status.SUBMITTING: "cyan",
    Status.IN_DOUBT: "yellow",
    Status.QUEUED: "grey37",
}
#: Width of the bar in characters.
WIDTH = 72
#: Seconds between two lines if the output is not a terminal.
LINE_EVERY = 5.0


def bar(counts: Mapping[Status, int], width: int = WIDTH) -> Text:
    """Draw the jobs as a bar of `width` cells, coloured by state."""
    total = sum(counts.values()) or 1
    text, done, cells = Text(), 0, 0
    for status, colour in COLOURS.items():
        done += counts.get(status, 0)
        upto = round(done * width / total)
        text.append("█" * (upto - cells), colour)
        cells = upto
    return text


def legend(counts: Mapping[Status, int]) -> Text:
    """Return the number of jobs in each state, in the colours of the bar."""
    text = Text()
    for status, colour in COLOURS.items():
        if counts.get(status):
            text.append(" ■ ", colour)
            text.append(f"{counts[status]} {status.value.replace('_', ' ')} ")
    return text


@contextmanager
def watching(console: Console, began: float) -> Iterator[Callable[[Batch], None]]:
    """Yield a function that shows the progress of a batch."""
    if not console.is_terminal:
        yield _lines(console, began)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield lambda batch: live.update(_frame(batch, began))


def _frame(batch: Batch, began: float) -> RenderableType:
    head = Text(f"{batch.finished:>3} of {batch.accepted} jobs  {time.monotonic() - began:4.0f} s", "bold")
    return Group(head, bar(batch.counts), legend(batch.counts))


def _lines(console: Console, began: float) -> Callable[[Batch], None]:
    last = -LINE_EVERY

    def show(batch: Batch) -> None:
        nonlocal last
        now = time.monotonic() - began
        if now - last >= LINE_EVERY or batch.done:
            last = now
            console.print(f"{now:4.0f} s  {batch.finished} of {batch.accepted} ", legend(batch.counts), soft_wrap=True)

    return show


def table(verdict: Verdict) -> Table:
    """Return the table of the results. The promises come last, in green or red."""
    rows = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(style="dim")
    rows.add_row("jobs sent", str(verdict.sent), f"{verdict.rejected} rejected: its photograph is too small")
    rows.add_row("completed", Text(str(verdict.completed), "green"), f"{verdict.images} images")
    rows.add_row("failed", Text(str(verdict.failed), "red"), "permanent errors, or no attempts left")
    rows.add_row("retried", str(verdict.retried), "needed a second or third attempt")
    rows.add_row("settled by callback", str(verdict.by_callback), f"{verdict.callbacks_dropped} callbacks were lost")
    rows.add_row("settled by polling", str(verdict.by_poll), "no callback had come")
    if verdict.by_other:
        rows.add_row("settled otherwise", str(verdict.by_other), "by the response to the submission")
    rows.add_row("submissions", str(verdict.submits), "including repeats and later attempts")
    rows.add_row("doubts resolved", str(verdict.doubts - verdict.still_in_doubt), "after a lost response, by look-up")
    rows.add_section()
    rows.add_row("paid for twice", _promise(verdict.bought_twice, kept=verdict.bought_twice == 0))
    rows.add_row("lost", _promise(verdict.lost, kept=verdict.lost == 0))
    kept = not (verdict.unsaved or verdict.images_missing or verdict.not_deleted)
    rows.add_row("images saved", _promise(verdict.images, kept=kept), "the provider has deleted its own")
    rows.add_row(
        "cost",
        _promise(f"{verdict.cost:.4f} USD", kept=verdict.cost == verdict.ledger),
        f"{verdict.ledger:.4f} USD in the provider's ledger",
    )
    rows.add_row("time", f"{verdict.seconds:.0f} s", "from the first job to the last end")
    return rows


def _promise(value: object, *, kept: bool) -> Text:
    return Text(str(value), f"bold {'green' if kept else 'red'}")
