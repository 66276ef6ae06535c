"""The pools of threads: callbacks, health checks and pages have threads of their own.

A thread waits for a client only where that is needed: an address that sends no body, or reads no answer, then cannot
hold all threads of a pool.
"""

import re
from collections.abc import Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

from webhook.http.bodies import MOST_FORM
from webhook.http.connection import Direction

#: Threads for each.
CALLBACKS, HEALTHZ, READYZ, METRICS, PAGES = 96, 2, 8, 4, 12
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pool:
    """The threads for some requests.

    `waits`: the directions in which a thread may wait for the client, in which case it needs a place if `takes_places`.
    `has_forms`: the event loop waits for the body, because no thread does.
    """

    threads: Executor
    waits: Collection[Direction] = tuple(Direction)
    takes_places: bool = True
    has_forms: bool = False


class Pools:
    """The pools by the beginnings of paths. `others` serves all other requests."""

    def __init__(self, others: Executor) -> None:
        # A callback's body is waited for only if its path proves that the provider sends it.
        callbacks = Pool(ThreadPoolExecutor(CALLBACKS), (Direction.BODY,), takes_places=False)
        pages = Pool(ThreadPoolExecutor(PAGES), (Direction.ANSWER,), has_forms=True)
        self._own = {
            b"/callbacks/": callbacks,
            b"/healthz": Pool(ThreadPoolExecutor(HEALTHZ), ()),
            b"/readyz": Pool(ThreadPoolExecutor(READYZ), ()),
            b"/metrics": Pool(ThreadPoolExecutor(METRICS), (), takes_places=False),
            **dict.fromkeys((b"/ ", b"/?", b"/login", b"/logout", b"/docs", b"/static/", b"/favicon.ico"), pages),
        }
        self._others = Pool(others)

    def of(self, head: bytearray) -> Pool:
        """Return the pool for the request with this head."""
        target = bytes(head[:128]).partition(b" ")[2]
        return next((pool for path, pool in self._own.items() if target.startswith(path)), self._others)

    def close(self) -> None:
        """Start no further requests."""
        for pool in self._own.values():
            pool.threads.shutdown(wait=False)


def form_length(head: bytearray) -> int:
    """Return the bytes of the form after this head; 0 if they are unknown, or too many."""
    found = _LENGTH.search(head, 0, head.find(b"\r\n\r\n") + 2)
    length = int(found[1]) if found else 0
    return length if length <= MOST_FORM else 0
