"""The progress of a batch, with and without rich."""

import os
import pty
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Batch, Status
from boomerang_client.progress_line import plain_lines
from boomerang_client.progress_text import progress_text
from tests.support.fake_boomerang import KEY, FakeService


def batch(**more: Any) -> Batch:
    counts = {Status.COMPLETED: 4, Status.FAILED: 1, Status.CANCELLED: 2, Status.QUEUED: 13}
    given: dict[str, Any] = {"id": "b", "accepted": 20, "done": False, "cost": Decimal(1), "counts": counts}
    return Batch(**given | more)


@pytest.mark.parametrize(
    ("batch", "line"),
    [
        (
            batch(rate=2.5, eta=3725.4),
            "7 of 20 ended: 4 completed, 1 failed, 2 cancelled, 13 queued; 2.5/s, ETA 1:02:05",
        ),
        (
            batch(paused=True, eta=9, reason="on\x1b request"),
            "7 of 20 ended: 4 completed, 1 failed, 2 cancelled, 13 queued; paused; on\N{REPLACEMENT CHARACTER} request",
        ),
        (batch(accepted=0, counts={}, done=True, reason="old"), "0 of 0 ended: no jobs"),
    ],
    ids=["in progress", "paused", "empty"],
)
def test_the_progress_of_a_batch_fits_in_a_line(batch: Batch, line: str) -> None:
    assert progress_text(batch) == line


def test_plain_lines_come_first_last_and_every_ten_seconds() -> None:
    lines: list[str] = []
    times = iter([0.0, 5.0, 11.0, 12.0, 13.0])
    show = plain_lines(lines.append, lambda: next(times))
    for ended in (0, 1, 2, 3, 20):
        show(batch(counts={Status.COMPLETED: ended}, done=ended == 20))
    assert [line.split()[0] for line in lines] == ["0", "2", "20"]


PROGRAM = """
import sys
if sys.argv[1] == "without":
    sys.modules["rich"] = None
from boomerang_client import Client
with Client() as client:
    client.batch([{"model": "m", "prompt": "a"}], "b").wait(progress=True)
print("rich" in sys.modules and sys.modules["rich"] is not None)
"""


@pytest.mark.stack
@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_rich_draws_on_a_terminal_and_plain_lines_do_elsewhere(
    service: FakeService, *, rich: bool, terminal: bool
) -> None:
    ours, theirs = pty.openpty() if terminal else os.pipe()
    env = os.environ | {"TERM": "xterm", "BOOMERANG_URL": service.url, "BOOMERANG_KEY": KEY}
    words = [sys.executable, "-c", PROGRAM, "with" if rich else "without"]
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=True)
    os.set_blocking(ours, False)
    screen = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    draws = rich and terminal
    assert done.stdout == f"{draws}\n"
    assert ("━" in screen) is draws
    assert ("1 of 1 ended: 1 completed" in screen) is not draws
    assert "1 completed" in screen


def test_progress_needs_no_terminal_module_of_its_own() -> None:
    # The library itself must work without the extra `cli`.
    folder = Path(__file__).parents[2] / "client" / "boomerang_client"
    imports = re.compile(r"^(from|import) (rich|click)\b", re.MULTILINE)
    using = {path.name for path in folder.glob("*.py") if imports.search(path.read_text("utf-8"))}
    assert using == {"batch_bar.py", "safe_console.py"}
