"""Hints to workers, of which one is under way at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.store.lua_source import HINT_MS


@contextmanager
def one_hint(messages: Callable[[], list[list[str]]]) -> Iterator[None]:
    """Check that the block leaves one hint in a queue. A hint lasts a second, so a slow machine may send more."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    found = messages()
    assert 1 <= len(found) <= 1 + seconds * 1000 / HINT_MS
    assert not any(found)
