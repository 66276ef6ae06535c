"""Tables for people who look at a screen, and plain lines for whatever reads a pipe. Nothing in them is cut."""

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Print rows under their columns' names. `styles`: of the first cell of each row, where there are any.

    A table that is wider than the screen becomes a paragraph a row, so that ids and commands can be copied whole. Where
    nobody looks at a screen, each row is one line with tabs between its cells, and there is no heading.
    """
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(map(_line, row)))
        return
    console = Console(highlight=False)
    widths = [max(map(len, (name, *(row[place] for row in rows)))) for place, name in enumerate(columns)]
    if sum(widths) + 3 * len(widths) + 1 <= console.width:
        table = Table(*columns)
        for number, row in enumerate(rows):
            first = Text(row[0], style=styles[number] if styles else "")
            table.add_row(first, *map(Text, row[1:]))
        console.print(table)
        return
    name_width = max(map(len, columns))
    for number, row in enumerate(rows):
        for place, (name, cell) in enumerate(zip(columns, row, strict=True)):
            if cell:
                style = styles[number] if styles and place == 0 else ""
                # The terminal breaks a long line without a break in the text: copied, it is one line.
                console.print(Text(f"{name:<{name_width}}  ", style="dim") + Text(cell, style=style), soft_wrap=True)
        console.print()


def _line(cell: str) -> str:
    return cell.replace("\t", " ").replace("\n", " ")
