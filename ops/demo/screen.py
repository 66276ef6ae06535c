"""What the person sees: a bar of the jobs by state while it runs, a table at the end."""

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
WIDTH = 72
QUIET = 5.0  # seconds between two lines where there is no terminal


def bar(counts: Mapping[Status, int], width: int = WIDTH) -> Text:
    """One cell for each so many jobs, coloured by state; a state with a job in it has a cell, if they go round."""
    total = sum(counts.values()) or 1
    text, done, cells = Text(), 0, 0
    for status, colour in COLOURS.items():
        done += counts.get(status, 0)
        upto = round(done * width / total)
        text.append("█" * (upto - cells), colour)
        cells = upto
    return text


def legend(counts: Mapping[Status, int]) -> Text:
    """The numbers, in the same colours."""
    text = Text()
    for status, colour in COLOURS.items():
        if counts.get(status):
            text.append(" ■ ", colour)
            text.append(f"{counts[status]} {status.value.replace('_', ' ')} ")
    return text


@contextmanager
def watching(console: Console, began: float) -> Iterator[Callable[[Batch], None]]:
    """Call what it yields with each look at the batch."""
    if not console.is_terminal:
        yield _lines(console, began)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield lambda batch: live.update(_frame(batch, began))


def _frame(batch: Batch, began: float) -> RenderableType:
    head = Text(f"{batch.finished:>3} of {batch.accepted} jobs  {time.monotonic() - began:4.0f} s", "bold")
    return Group(head, bar(batch.counts), legend(batch.counts))


def _lines(console: Console, began: float) -> Callable[[Batch], None]:
    last = -QUIET

    def show(batch: Batch) -> None:
        nonlocal last
        now = time.monotonic() - began
        if now - last >= QUIET or batch.done:
            last = now
            console.print(f"{now:4.0f} s  {batch.finished} of {batch.accepted} ", legend(batch.counts))

    return show


def table(verdict: Verdict) -> Table:
    """The end of it. The promises stand apart, in green or red."""
    rows = Table(box=None, show_header=False, padding=(0, 3, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(style="dim")
    rows.add_row("jobs", str(verdict.asked), f"{verdict.refused} refused at the door (a small photograph)")
    rows.add_row("completed", f"[green]{verdict.completed}[/]", f"{verdict.pictures} pictures")
    rows.add_row("failed", f"[red]{verdict.failed}[/]", f"{verdict.again} took another attempt")
    rows.add_row("settled by callback", str(verdict.by_callback), f"{verdict.callbacks_dropped} callbacks were dropped")
    rows.add_row("settled by polling", str(verdict.by_poll), "where no callback came")
    if verdict.by_other:
        rows.add_row("settled otherwise", str(verdict.by_other), "by the submission's own answer")
    rows.add_row("submits", str(verdict.submits), "repeats and later attempts included")
    rows.add_row("in doubt, resolved", str(verdict.doubts - verdict.still_in_doubt), "answers lost, then looked up")
    rows.add_section()
    rows.add_row("bought twice", _promise(verdict.bought_twice, kept=verdict.bought_twice == 0))
    rows.add_row("lost", _promise(verdict.lost, kept=verdict.lost == 0))
    rows.add_row(
        "cost",
        _promise(f"{verdict.cost:.4f} USD", kept=verdict.cost == verdict.ledger),
        f"the ledger says {verdict.ledger:.4f} USD",
    )
    rows.add_row("time", f"{verdict.seconds:.0f} s", "first job sent to last one ended")
    return rows


def _promise(value: object, *, kept: bool) -> str:
    return f"[bold {'green' if kept else 'red'}]{value}[/]"
