"""`boomerang top`: lanes and batches, live."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import click
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from boomerang_client.cli.keyboard import keys
from boomerang_client.cli.options import duration, label_option
from boomerang_client.cli.render import STYLES, pace_text
from boomerang_client.cli.screen import Screen, clean, json_option
from boomerang_client.client import Client
from boomerang_client.errors import ServiceUnavailable, TooBusy
from boomerang_client.records import Batch, Status
from boomerang_client.responses import Lane

#: Batches that are asked for, and the width from which there is room for long bars.
BATCHES, WIDE = 50, 100


@dataclass(frozen=True)
class Snapshot:
    """What there is to see at one moment; unfinished batches first."""

    at: datetime
    lanes: Sequence[Lane]
    batches: Sequence[Batch]


def look(client: Client, labels: dict[str, str]) -> Snapshot:
    """Ask for lanes and batches as they are now."""
    batches = sorted(client.batches(BATCHES, labels=labels), key=lambda batch: batch.done)
    return Snapshot(datetime.now(timezone.utc), client.lanes(), batches)


@click.command()
@click.option(
    "--interval", type=duration, default="2s", show_default=True, metavar="DURATION", help="Between two looks."
)
@label_option("Only batches with this label; may be given several times.")
@json_option
@click.pass_obj
def top(screen: Screen, interval: float, labels: tuple[tuple[str, str], ...]) -> None:
    """Watch the lanes and the batches in the terminal; q or Ctrl-C ends it.

    With --json, or without a terminal, it says once how things are.
    """
    # Each look is soon followed by another: what does not come at once is not waited for.
    client, wanted = screen.client(retries=0, timeout=(3.05, 10)), dict(labels)
    seen = look(client, wanted)
    if screen.as_json:
        views = {"lanes": [lane.raw for lane in seen.lanes], "batches": [batch.raw for batch in seen.batches]}
        screen.document({"at": seen.at.isoformat(), **views})
    elif not screen.out.is_terminal:
        screen.out.print(View(seen))
    else:
        _live(screen, client, wanted, seen, max(interval, 0.2))


def _live(screen: Screen, client: Client, labels: dict[str, str], seen: Snapshot, interval: float) -> None:
    view = View(seen)
    try:
        with keys() as pressed, Live(view, console=screen.out, screen=True, auto_refresh=False) as live:
            while "q" not in pressed(interval):
                try:
                    view = View(look(client, labels))
                except (ServiceUnavailable, TooBusy) as error:
                    view = View(view.seen, clean(error))
                live.update(view, refresh=True)
    except KeyboardInterrupt:
        return  # looking ends, nothing else does


@dataclass(frozen=True)
class View:
    """A snapshot, drawn as high as the terminal; `trouble`: why it is not newer."""

    seen: Snapshot
    trouble: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = (options.height or console.height) if console.is_terminal else len(self.seen.batches) + 99
        wide = console.width >= WIDE
        room = max(1, height - len(self.seen.lanes) - 7)
        shown = self.seen.batches[:room]
        yield Group(self._heading(), Text(), _lanes(self.seen.lanes, wide=wide), Text(), _batches(shown, wide=wide))
        if len(self.seen.batches) > room:
            yield Text(f"and {len(self.seen.batches) - room} more", "dim")

    def _heading(self) -> Text:
        running = [batch for batch in self.seen.batches if not batch.done]
        rate = sum(batch.rate or 0 for batch in running)
        left = sum(batch.accepted - batch.finished for batch in running)
        now = self.seen.at.astimezone().strftime("%H:%M:%S")
        parts = [f"{now}  {len(running):,} batches run, {left:,} jobs to go, {rate:.1f}/s", ""]
        return Text("  ").join(
            [Text(parts[0], "bold"), Text(self.trouble or "q ends", "red" if self.trouble else "dim")]
        )


def _lanes(lanes: Sequence[Lane], *, wide: bool) -> Table:
    made = _table("lane", *([""] if wide else []), "under way", "waiting", "spent", "state")
    for lane in lanes:
        limit = lane.max_in_flight or None
        open_ = not lane.held and lane.breaker in (None, "closed")
        state = _line("open" if open_ else "held" if lane.held else "breaker open", "green" if open_ else "red")
        if lane.reason:
            state.append(f": {clean(lane.reason)}")
        bar = ProgressBar(total=limit, completed=min(lane.slots, limit), width=16) if limit else Text("no limit", "dim")
        made.add_row(
            _line(clean(lane.name)),
            *([bar] if wide else []),
            f"{lane.slots:,}/{limit:,}" if limit else f"{lane.slots:,}",
            f"{lane.ready:,}",
            "" if lane.spent is None else f"{lane.spent} USD",
            state,
        )
    return made


def _batches(batches: Sequence[Batch], *, wide: bool) -> Table:
    made = _table("batch", *([""] if wide else []), "ended", "failed", "under way", "cost", "pace")
    for batch in batches:
        failed = batch.unsuccessful
        begun = (Status.SUBMITTING, Status.IN_DOUBT, Status.IN_PROGRESS)
        cap = f" of {batch.max_cost}" if wide and batch.max_cost is not None else ""
        bar = ProgressBar(total=max(batch.accepted, 1), completed=batch.finished, width=24)
        made.add_row(
            _line(clean(batch.id)),
            *([bar] if wide else []),
            f"{batch.finished:,}/{batch.accepted:,}",
            Text(f"{failed:,}", STYLES[Status.FAILED] if failed else "dim"),
            f"{sum(batch.counts.get(status, 0) for status in begun):,}",
            f"{batch.cost}{cap}",
            _line(pace_text(batch), "dim" if batch.done else "yellow" if batch.paused else ""),
        )
    if not batches:
        made.add_row(Text("no batches", "dim"))
    return made


def _line(text: str, style: str = "") -> Text:
    """A text of any length, on one line."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _table(*columns: str) -> Table:
    """A table that gives up the ends of its first and last column before any number."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        right = name in ("ended", "failed", "under way", "waiting")
        # Those that may not wrap keep their width as long as there are others; `_line` keeps these on a line.
        any_length = name in (columns[0], columns[-1])
        made.add_column(name, justify="right" if right else "left", no_wrap=not any_length)
    return made
