import io
import sys

import click
import pytest

from ops.commands.table import show_table

COLUMNS = ("id", "what", "what to do")
ROWS = [
    (
        "0123456789ab",
        "a finding [bold]of[/] some length, in words",
        "boomerang-server settle 0123456789ab --sent T | --failed",
    )
]


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [20, 40, 80, 81, 120, 300])
def test_nothing_is_truncated_at_any_terminal_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(COLUMNS, ROWS, ["red"])
    lines = [click.unstyle(line) for line in screen.getvalue().splitlines()]
    for cell in ROWS[0]:
        assert any(cell in line for line in lines)


def test_a_pipe_gets_plain_lines_without_styles(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(COLUMNS, [*ROWS, ("b", "two\nlines", "a\ttab")])
    assert capsys.readouterr().out == "\t".join(ROWS[0]) + "\nb\ttwo lines\ta tab\n"
