"""Print tables: aligned columns on a terminal, tab-separated lines elsewhere. Nothing is ever cut."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.text import Text

from boomerang_client.cli.plain_output import echo
from boomerang_client.cli.screen import Screen
from boomerang_client.terminal import clean

Row = TypeVar("Row")

_GAP = "  "


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Row]):
    """One column.

    `plain` is its cell for programs, and `text` its cell for people (default: the same). `rank` 0 is always shown.
    Others are shown as far as the terminal has space, those with the lowest rank first, unless all their cells are
    empty. `on_terminal` and `in_pipe` say where it appears at all.
    """

    name: str
    plain: Callable[[Row], object]
    text: Callable[[Row], str | Text] | None = None
    rank: int = 0
    right: bool = False
    on_terminal: bool = True
    in_pipe: bool = True

    def cell(self, row: Row) -> Text:
        """Return the cell for people."""
        cell = self.text(row) if self.text else clean(self.plain(row))
        return cell if isinstance(cell, Text) else Text(clean(cell))


def print_table(screen: Screen, columns: Sequence[Column[Row]], rows: Iterable[Row], none: str) -> None:
    """Print the rows. Without rows a terminal shows the text `none`, on stderr."""
    if not screen.out.is_terminal:
        for row in rows:
            echo("\t".join(clean(column.plain(row)) for column in columns if column.in_pipe))
        return
    visible = [column for column in columns if column.on_terminal]
    cells = [[column.cell(row) for column in visible] for row in rows]
    if not cells:
        screen.message(none)
        return
    widths = [max(cell_len(column.name), *(row[at].cell_len for row in cells)) for at, column in enumerate(visible)]
    empty = [not any(row[at].plain for row in cells) for at in range(len(visible))]
    kept = _fitting([column.rank for column in visible], widths, empty, screen.out.width)
    heading = [Text(column.name, "dim") for column in visible]
    for line_cells in [heading, *cells]:
        line = Text(_GAP).join(_aligned(line_cells[at], widths[at], right=visible[at].right) for at in kept)
        line.rstrip()
        screen.result(line)


def _fitting(ranks: Sequence[int], widths: Sequence[int], empty: Sequence[bool], width: int) -> list[int]:
    """Return the positions of the columns to show: all of rank 0, then those of the lowest ranks that still fit."""
    kept = {at for at, rank in enumerate(ranks) if rank == 0}
    for at in sorted((at for at, rank in enumerate(ranks) if rank and not empty[at]), key=lambda at: ranks[at]):
        if sum(widths[each] for each in kept | {at}) + len(_GAP) * len(kept) <= width:
            kept.add(at)
    return sorted(kept)


def _aligned(cell: Text, width: int, *, right: bool) -> Text:
    spaces = Text(" " * (width - cell.cell_len))
    return spaces + cell if right else cell + spaces
