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
from webhook.server.turns import Turns

#: Threads for each.
CALLBACKS, HEALTHZ, READYZ, METRICS, PAGES = 96, 2, 8, 4, 12
#: The beginnings of paths whose requests may take long: the API, and what pages upload and download. All others are
#: pages.
_LONG = (b"/v1", b"/model/v1", b"/openapi.json", b"/files/")
#: What a target in absolute form (RFC 9112, 3.2.2) has before its path.
_AUTHORITY = re.compile(rb"https?://[^/? ]*", re.IGNORECASE)
#: Bytes of a head that are searched for the path.
_MOST_TARGET = 512
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pool:
    """The threads for some requests.

    `waits`: the directions in which a thread may wait for the client, in which case it needs a place if `takes_places`.
    `has_forms`: the event loop waits for the body, because no thread does. `always_open`: also for an address that has
    too many connections, because all clients may share it.
    """

    turns: Turns
    waits: Collection[Direction] = tuple(Direction)
    takes_places: bool = True
    has_forms: bool = False
    always_open: bool = False


class Pools:
    """The pools by the beginnings of paths. `others` serves the API, and files of pages."""

    def __init__(self, others: Executor, amount: int) -> None:
        # A callback's body is waited for only if its path proves that the provider sends it.
        callbacks = Pool(_turns(CALLBACKS), (Direction.BODY,), takes_places=False, always_open=True)
        self._own = {
            b"/callbacks/": callbacks,
            b"/healthz": Pool(_turns(HEALTHZ), (), always_open=True),
            b"/readyz": Pool(_turns(READYZ), (), always_open=True),
            b"/metrics": Pool(_turns(METRICS), (), takes_places=False),
        }
        self._others = Pool(Turns(others, amount))
        self._own |= dict.fromkeys(_LONG, self._others)
        self._pages = Pool(_turns(PAGES), (Direction.ANSWER,), has_forms=True)

    def of(self, head: bytearray) -> Pool:
        """Return the pool for the request with this head."""
        target = bytes(head[:_MOST_TARGET]).partition(b" ")[2]
        if not target.startswith(b"/") and (authority := _AUTHORITY.match(target)):
            # Without a path, it is that of the start page.
            target = target[authority.end() :]
            target = target if target.startswith(b"/") else b"/" + target
        return next((pool for path, pool in self._own.items() if target.startswith(path)), self._pages)

    def close(self) -> None:
        """Start no further requests."""
        for pool in {id(each): each for each in (*self._own.values(), self._pages)}.values():
            pool.turns.close()


def _turns(amount: int) -> Turns:
    return Turns(ThreadPoolExecutor(amount), amount)


def form_length(head: bytearray) -> int:
    """Return the bytes of the form after this head; 0 if they are unknown, or too many."""
    found = _LENGTH.search(head, 0, head.find(b"\r\n\r\n") + 2)
    length = int(found[1]) if found else 0
    return length if length <= MOST_FORM else 0
