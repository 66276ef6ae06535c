"""What is printed: one line for each check."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ops.compose_check.shell import CommandFailed


class Report:
    """Prints each check as it is made, and counts those that failed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.passed = 0
        self.failed = 0

    def section(self, name: str) -> None:
        """Begin a group of checks."""
        click.echo(f"\n{name}")

    def note(self, text: str) -> None:
        """Print a figure that is no check."""
        self._line("", text)

    def skip(self, what: str, why: str) -> None:
        """Say that a check was not made."""
        self._line("skip", f"{what}: {why}")

    def check(self, what: str, holds: object, found: object = "") -> bool:
        """Record whether something holds; `found` is printed where it does not."""
        if holds:
            self.passed += 1
            self._line("ok", what)
        else:
            self.failed += 1
            self._line("FAIL", f"{what}: {_short(found)}" if found not in ("", None) else what)
        return bool(holds)

    def equal(self, what: str, found: Any, expected: Any) -> bool:
        """Record whether `found` is what was expected."""
        if found == expected:
            return self.check(f"{what}: {_short(found)}", holds=True)
        return self.check(what, holds=False, found=f"expected {expected}, found {found}")

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Turn an error within the block into one failed check, so that the next checks are still made."""
        try:
            yield
        except (CommandFailed, OSError, ValueError, LookupError) as error:
            self.check(what, holds=False, found=f"{type(error).__name__}: {error}")

    def _line(self, mark: str, text: str) -> None:
        click.echo(f"{self._clock() - self._began:5.0f}s  {mark:4}  {text}")


def _short(value: object, limit: int = 400) -> str:
    text = " ".join(str(value).split())
    if len(text) > limit:
        # The end of a traceback says more than its beginning.
        return f"{text[: limit // 2]} … {text[-limit // 2 :]}"
    return text or "nothing"
