"""Keep fast tests fast: only tests with the marker `stack`, `slow` or `chaos` may start a process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Fixtures that start processes. Tests that use one get the marker `stack` automatically.
STARTERS = frozenset({"processes", "real_redis", "run_service", "serve", "servers"})
MARKS = ("stack", "slow", "chaos")

_watching = False


def mark(items: list[pytest.Item]) -> None:
    """Give the marker `stack` to every test that uses a fixture which starts processes."""
    for item in items:
        if STARTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("stack")


@contextmanager
def watched(item: pytest.Item) -> Iterator[None]:
    """Make a test without such a marker fail when it starts a process."""
    global _watching  # noqa: PLW0603 - an audit hook can be added, but not removed
    _watching = not any(item.get_closest_marker(name) for name in MARKS)
    try:
        yield
    finally:
        _watching = False


def _refuse(event: str, _: object) -> None:
    if _watching and event in ("subprocess.Popen", "os.posix_spawn"):
        raise AssertionError("this test starts a process: give it the marker `stack`")


sys.addaudithook(_refuse)
