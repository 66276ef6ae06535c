"""Print a line for each check."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ops.compose_check.shell import CommandFailed


class Report:
    """The printed results, and the number of failed checks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.passed = 0
        self.failed = 0

    def section(self, name: str) -> None:
        """Begin a group of checks."""
        click.echo(f"\n{name}")

    def note(self, text: str) -> None:
        """Print a figure that is not a check."""
        self._line("", text)

    def skip(self, what: str, why: str) -> None:
        """Print that a check was skipped."""
        self._line("skip", f"{what}: {why}")

    def check(self, what: str, holds: object, found: object = "") -> bool:
        """Record whether a check passed. If it failed, `found` is printed."""
        if holds:
            self.passed += 1
            self._line("ok", what)
        else:
            self.failed += 1
            self._line("FAIL", f"{what}: {_short(found)}" if found not in ("", None) else what)
        return bool(holds)

    def equal(self, what: str, found: Any, expected: Any) -> bool:
        """Record whether `found` equals the expected value."""
        if found == expected:
            return self.check(f"{what}: {_short(found)}", holds=True)
        return self.check(what, holds=False, found=f"expected {expected}, found {found}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Turn an error in the block into one failed check, so that the next checks still run."""
        try:
            yield
        except (CommandFailed, OSError, ValueError, LookupError) as error:
            self.check(what, holds=False, found=f"{type(error).__name__}: {error}")

    def _line(self, mark: str, text: str) -> None:
        click.echo(f"{self._clock() - self._began:5.0f}s  {mark:4}  {text}")


def _short(value: object, limit: int = 400) -> str:
    text = " ".join(str(value).split())
    if len(text) > limit:
        # The end of a traceback has the reason.
        return f"{text[: limit // 2]} … {text[-limit // 2 :]}"
    return text or "nothing"
