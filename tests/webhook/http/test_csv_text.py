"""Text from outside in CSV, of the service and of the client."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boomerang_client.cli.csv_text import csv_text as clients
from webhook.http.csv_text import csv_text as services

Write = Callable[[Iterable[Sequence[str]]], str]
HOSTILE = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1", "＝1", "＠SUM(A1)", "=cmd|' /C calc'!A0",
           '=HYPERLINK("http://x")', "-cmd", "--1", "+", "\u00a0=1"]  # fmt: skip
CONTROLS = ["\x1b[2J", "a\x07", "a\x9b31m", "a\x7f", "a\u202eb", "a\rb", "a\0b"]
BOTH = pytest.mark.parametrize("write", [services, clients], ids=["service", "client"])


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@BOTH
@pytest.mark.parametrize("cell", HOSTILE)
@pytest.mark.parametrize("column", range(3))
def test_no_cell_is_a_formula(cell: str, column: int, write: Write) -> None:
    row = ["a", "b", "c"]
    row[column] = cell
    ((*cells,),) = read(write([row]))
    assert cells[column].startswith("'")
    assert [each for place, each in enumerate(cells) if place != column] == [
        each for place, each in enumerate(row) if place != column
    ]


@BOTH
@pytest.mark.parametrize("cell", CONTROLS)
def test_no_cell_controls_a_terminal(cell: str, write: Write) -> None:
    assert write([[cell]]).removesuffix("\r\n").isprintable()


@BOTH
@pytest.mark.parametrize(
    "cell", ["", "-0.0065", "12", "a-b", "https://e.com/?a=1", "two\nlines", 'a "b", c', "外部", "{}"]
)
def test_other_text_is_unchanged(cell: str, write: Write) -> None:
    assert read(write([["x", cell]])) == [["x", cell]]


@BOTH
@given(cell=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_text_is_harmless(cell: str, write: Write) -> None:
    text = write([["x", cell, "y"]])
    ((*cells,),) = read(text)
    assert (cells[0], cells[2]) == ("x", "y")
    assert "\x1b" not in text
    assert cells[1][:1] not in ("=", "+", "@", "\t", "\r", "\n")
