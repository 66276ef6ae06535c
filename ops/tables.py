"""Tables as plain lines: nothing is cut, so that ids and commands can be copied from a terminal and from a file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; the note, if any, stands on a line of its own below it."""

    cells: Sequence[str]
    note: str = ""


def lines(headers: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """Align all columns but the last, which is as long as it is."""
    kept = [Row([" ".join(cell.split()) for cell in row.cells], " ".join(row.note.split())) for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *(row.cells for row in kept), strict=True)]
    widths[-1] = 0
    made = [_line(headers, widths)]
    for row in kept:
        made.append(_line(row.cells, widths))
        if row.note:
            made.append(f"    {row.note}")
    return made


def show(headers: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table, its headers underlined on a terminal."""
    first, *rest = lines(headers, rows)
    click.echo(click.style(first, underline=True))
    for line in rest:
        click.echo(line)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
