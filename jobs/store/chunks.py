"""Iterables split into chunks, for bounded round trips."""

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

#: Records read in one round trip, and keys requested in one step of a cursor.
CHUNK = 500
Each = TypeVar("Each")


def chunks(items: Iterator[Each]) -> Iterator[list[Each]]:
    """Yield the items in lists of at most `CHUNK`."""
    while chunk := list(islice(items, CHUNK)):
        yield chunk
