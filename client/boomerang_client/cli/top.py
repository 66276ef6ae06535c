"""`boomerang top`: lanes and batches, live."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import click
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from boomerang_client.batch_bar import STYLES
from boomerang_client.cli.keyboard import key_presses
from boomerang_client.cli.options import duration, examples, json_option, label_option
from boomerang_client.cli.plain_output import echo
from boomerang_client.cli.render import BATCH_COLUMNS, LANE_COLUMNS, eta_text, lane_text, trouble_text, use_text
from boomerang_client.cli.screen import Screen
from boomerang_client.client import Client
from boomerang_client.errors import ServiceUnavailable, TooBusy
from boomerang_client.record_fields import Status
from boomerang_client.records import Batch
from boomerang_client.responses import Lane, Trouble
from boomerang_client.terminal import clean

#: Batches that are requested, and the terminal width from which there is space for bars.
BATCHES, WIDE = 50, 110


@dataclass(frozen=True)
class Snapshot:
    """The lanes and batches at one moment, unfinished batches first. `troubles`: of the service as a whole."""

    at: datetime
    lanes: Sequence[Lane]
    batches: Sequence[Batch]
    troubles: Sequence[Trouble] = ()


def take_snapshot(client: Client, labels: dict[str, str]) -> Snapshot:
    """Request the lanes and batches."""
    batches = sorted(client.batches(BATCHES, labels=labels), key=lambda batch: batch.done)
    overview = client.overview()
    return Snapshot(datetime.now(timezone.utc), overview.lanes, batches, overview.troubles)


@click.command(
    short_help="Watch lanes and batches, live.",
    epilog=examples("boomerang top", "boomerang top --label season=spring", "boomerang top --json | jq ."),
)
@click.option(
    "--interval", type=duration, default="2s", show_default=True, metavar="DURATION", help="Time between two updates."
)
@label_option("Only batches with this label. May be repeated.")
@json_option
@click.pass_obj
def top(screen: Screen, interval: float, labels: tuple[tuple[str, str], ...]) -> None:
    """Watch the lanes and the batches on the terminal. q or Ctrl-C ends it.

    A red line says what keeps the service as a whole from its work, and what the operator can do.

    With --json, or in a pipe, it prints them once. In a pipe: a line for each trouble, lane and batch, with tabs
    between "trouble", its code, since when, what is wrong and what to do; or between "lane" or "batch" and the columns
    of `boomerang lanes` and `boomerang list batches`.
    """
    # An update that fails is soon followed by another, so it need not be repeated.
    client, wanted = screen.client(retries=0, timeout=(3.05, 10)), dict(labels)
    seen = take_snapshot(client, wanted)
    if screen.as_json:
        views = {
            "lanes": [lane.raw for lane in seen.lanes],
            "batches": [batch.raw for batch in seen.batches],
            "troubles": [trouble.raw for trouble in seen.troubles],
        }
        screen.result_json({"at": seen.at.isoformat(), **views})
    elif not screen.out.is_terminal:
        _print_lines(seen)
    else:
        _run(screen, client, wanted, seen, max(interval, 0.2))


def _print_lines(seen: Snapshot) -> None:
    for trouble in seen.troubles:
        since = trouble.since.isoformat(timespec="seconds") if trouble.since else ""
        echo("\t".join(["trouble", *map(clean, (trouble.code, since, trouble.what, trouble.do))]))
    for lane in seen.lanes:
        echo("\t".join(["lane", *(clean(column.plain(lane)) for column in LANE_COLUMNS if column.in_pipe)]))
    for batch in seen.batches:
        echo("\t".join(["batch", *(clean(column.plain(batch)) for column in BATCH_COLUMNS if column.in_pipe)]))


def _run(screen: Screen, client: Client, labels: dict[str, str], seen: Snapshot, interval: float) -> None:
    view = View(seen)
    try:
        with key_presses() as wait_for_key, Live(view, console=screen.out, screen=True, auto_refresh=False) as live:
            while wait_for_key(interval) != "q":
                try:
                    view = View(take_snapshot(client, labels))
                except (ServiceUnavailable, TooBusy) as error:
                    view = View(view.seen, clean(error))
                live.update(view, refresh=True)
    except KeyboardInterrupt:
        return  # it only ends the display


@dataclass(frozen=True)
class View:
    """Draws a snapshot within the height of the terminal. `trouble`: why it is out of date."""

    seen: Snapshot
    trouble: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = console.width >= WIDE
        troubles = [Text(trouble_text(trouble), "red") for trouble in self.seen.troubles]
        lanes = _lanes(self.seen.lanes, wide=wide)
        upper: list[RenderableType] = [self._heading(), *troubles, Text(), lanes, Text()]
        yield from upper
        used = sum(len(console.render_lines(part, options, pad=False)) for part in upper)
        space = (options.height or console.height) - used - 1
        number = max(1, len(self.seen.batches))
        while number > 1:
            table = _batches(self.seen.batches[:number], wide=wide)
            excess = len(console.render_lines(table, options, pad=False)) - space
            if excess <= 0:
                break
            number = max(1, number - max(1, excess // 2))
        yield _batches(self.seen.batches[:number], wide=wide)
        if len(self.seen.batches) > number:
            yield Text(f"and {len(self.seen.batches) - number:,} more batches", "dim")

    def _heading(self) -> Text:
        running = [batch for batch in self.seen.batches if not batch.done]
        rate = sum(batch.rate or 0 for batch in running)
        left = sum(batch.accepted - batch.finished for batch in running)
        now = self.seen.at.astimezone().strftime("%H:%M:%S")
        batches = "1 batch running" if len(running) == 1 else f"{len(running):,} batches running"
        text = Text(f"{now}  {batches}, {left:,} jobs left, {rate:.1f}/s  ", "bold")
        return text.append(self.trouble or "q ends", "not bold red" if self.trouble else "not bold dim")


def _lanes(lanes: Sequence[Lane], *, wide: bool) -> Table:
    table = _table("lane", *([""] if wide else []), "in progress", "waiting", "spent", "state")
    for lane in lanes:
        limit = lane.limit
        bar = ProgressBar(total=limit, completed=min(lane.slots, limit), width=16) if limit else Text("no limit", "dim")
        table.add_row(
            Text(clean(lane.name)),
            *([bar] if wide else []),
            use_text(lane),
            f"{lane.ready:,}",
            "" if lane.spent is None else f"{lane.spent} USD",
            lane_text(lane),
        )
    return table


def _batches(batches: Sequence[Batch], *, wide: bool) -> Table:
    # A column for each way to end without a result; rare ones only when there are such jobs.
    bad = [status for status in (Status.FAILED, Status.CANCELLED, Status.EXPIRED) if _worth_showing(status, batches)]
    names = ["ended", *(status.words for status in bad), *(["cost"] if wide else []), "pace"]
    table = _table("batch", *([""] if wide else []), *names)
    for batch in batches:
        limit = f" of {batch.max_cost}" if batch.max_cost is not None else ""
        bar = ProgressBar(total=max(batch.accepted, 1), completed=batch.finished, width=20)
        table.add_row(
            Text(clean(batch.id)),
            *([bar] if wide else []),
            f"{batch.finished:,}/{batch.accepted:,}",
            *(_number(batch, status) for status in bad),
            *([f"{batch.cost}{limit}"] if wide else []),
            _pace(batch),
        )
    if not batches:
        table.add_row(Text("no batches", "dim"))
    return table


def _worth_showing(status: Status, batches: Sequence[Batch]) -> bool:
    return status is Status.FAILED or any(batch.counts.get(status) for batch in batches)


def _number(batch: Batch, status: Status) -> Text:
    number = batch.counts.get(status, 0)
    return Text(f"{number:,}", STYLES[status] if number else "dim")


def _pace(batch: Batch) -> Text:
    text = Text(eta_text(batch), "dim" if batch.done else "yellow" if batch.paused else "")
    if batch.reason and not batch.done:
        text.append(f"{': ' if text.plain else ''}{clean(batch.reason)}", "yellow")
    return text


def _table(*columns: str) -> Table:
    """Return a table in which only the first and the last column wrap. Nothing is cut."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        number = name in ("ended", "failed", "cancelled", "expired", "in progress", "waiting")
        wraps = name in (columns[0], columns[-1])
        table.add_column(name, justify="right" if number else "left", no_wrap=not wraps, overflow="fold")
    return table
