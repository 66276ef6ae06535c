"""Tables on a terminal, and lines with tabs in a pipe. No cell is cut."""

import shutil
import sys
from collections.abc import Sequence

import click

from jobs.plain_text import one_line

_GAP = "  "


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str | None] = ()) -> None:
    """Print rows under the names of their columns. `colours`: of the first cell of each row.

    If the table is wider than the terminal, each row becomes a paragraph, so that ids and commands can be copied whole.
    If the output is not a terminal, each row is a line with tabs between the cells, without a heading.
    """
    plain = [[_one_line(cell) for cell in row] for row in rows]
    if not _is_terminal():
        for row in plain:
            click.echo("\t".join(row))
        return
    painted = list(zip(plain, colours or [None] * len(plain), strict=True))
    widths = [max(map(len, column)) for column in zip(columns, *plain, strict=True)]
    if sum(widths) + len(_GAP) * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        _aligned(columns, painted, widths)
    else:
        _paragraphs(columns, painted)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _aligned(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str | None]], widths: Sequence[int]) -> None:
    click.echo(click.style(_GAP.join(map(str.ljust, columns, widths)).rstrip(), bold=True))
    for row, colour in rows:
        first, *others = map(str.ljust, row, widths)
        click.echo(_GAP.join([click.style(first, fg=colour), *others]).rstrip())


def _paragraphs(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str | None]]) -> None:
    width = max(map(len, columns))
    for row, colour in rows:
        for place, (name, cell) in enumerate(zip(columns, row, strict=True)):
            if cell:
                # The terminal wraps long lines: copied, they are still one line.
                click.echo(
                    click.style(name.ljust(width) + _GAP, dim=True)
                    + click.style(cell, fg=colour if not place else None)
                )
        click.echo()


def _one_line(cell: str) -> str:
    return one_line(cell.replace("\t", " ").replace("\n", " "))
