"""A client's connection, which ends when the client makes a thread wait too long.

gunicorn has no limit: a client that sends or reads a byte now and then could occupy a thread for hours.
"""

import errno
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from webhook.http.fair_pool import Place

#: Bytes per second at which a client must send a body, and read an answer.
LEAST_RATE = 8 * 1024
#: Seconds that a client may make a thread wait before that rate counts, and the most that it can save up.
GRACE = 10.0
MOST_CREDIT = 30.0
#: Seconds that a client may make a thread wait before it needs a place. They are few, so that threads remain.
WITHOUT_PLACE = 1.0
_LONGEST_POLL = 0.5
#: Seconds that a client may make a thread wait for a body, and with an answer, at any rate.
LONGEST_BODY = 60.0
LONGEST_ANSWER = 1800.0


class TooSlow(ConnectionResetError):
    """The client sends or reads too slowly. gunicorn closes the connection quietly, as if the client had."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.ECONNRESET, text)


@dataclass(slots=True)
class Pace:
    """How long a client may still make a thread wait in one direction, in seconds."""

    longest: float
    credit: float = field(default_factory=lambda: GRACE)
    waited: float = 0.0

    @property
    def left(self) -> float:
        """The seconds for which a thread may wait now."""
        return min(self.credit, self.longest - self.waited)

    def count_bytes(self, count: int) -> None:
        """Count bytes that arrived or were read: each of them allows the client to be that much slower."""
        self.credit = max(self.credit, min(MOST_CREDIT, self.credit + count / LEAST_RATE))

    def count_wait(self, seconds: float) -> None:
        """Count seconds for which a thread waited for the client."""
        self.credit -= seconds
        self.waited += seconds


class TakePlace(Protocol):
    """Returns a place for a slow client, or None if its holder has its share."""

    def __call__(self, holder: str, amount: int, give_way: Callable[[], None], /) -> Place | None: ...


class Direction(StrEnum):
    """What a thread waits for."""

    BODY = "body"
    ANSWER = "answer"


class Connection(socket.socket):
    """The socket of a client. Only time that a thread spends waiting for the client counts, not our own work.

    `on_slow` is called with the direction in which the client was too slow. `holder`: who makes the request, the
    producer's name or the client's address.
    """

    def __init__(
        self,
        accepted: socket.socket,
        on_slow: Callable[[Direction], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._on_slow = on_slow
        self._clock = clock
        self._place: Place | None = None
        self.begin_request()

    def begin_request(self, holder: str = "", take_place: TakePlace | None = None) -> None:
        """Begin to count anew, for the next request. A client that is slow for longer needs a place."""
        self.paces = {Direction.BODY: Pace(LONGEST_BODY), Direction.ANSWER: Pace(LONGEST_ANSWER)}
        self.holder = holder
        self.too_slow = self.refused = False
        self.cut_off: frozenset[Direction] = frozenset()
        self._take_place = take_place
        self._sends = False

    def end_request(self) -> None:
        """Give the place back."""
        if self._place:
            self._place.release()
        self._place = None

    def cut(self, direction: Direction) -> None:
        """End the body, or the answer, within half a second: its place goes to another client. For other threads.

        No shutdown: with it, the kernel would reset the connection, and the client would not get the answer.
        """
        self.cut_off |= {direction}

    def receive_now(self, size: int) -> bytes:
        """Return what has arrived, up to `size` bytes; b'' at the end. Raises `BlockingIOError` if nothing has."""
        return super().recv(size, socket.MSG_DONTWAIT)

    def send_now(self, data: bytes) -> None:
        """Send as much as possible without waiting. Raises `OSError`."""
        super().send(data, socket.MSG_DONTWAIT)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Wait for bytes of the body, and return them; b'' if it was cut. Raises `TooSlow`."""
        while Direction.BODY not in self.cut_off:
            try:
                data = super().recv(size, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLIN, Direction.BODY)
            else:
                self.paces[Direction.BODY].count_bytes(len(data))
                return data
        return b""

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`. Raises `TooSlow`."""
        left = memoryview(data).cast("B")
        while left:
            if Direction.ANSWER in self.cut_off:
                raise TooSlow("another client needs the place of this answer")
            try:
                sent = super().send(left, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLOUT, Direction.ANSWER)
            else:
                self.paces[Direction.ANSWER].count_bytes(sent)
                left = left[sent:]

    def _wait(self, event: int, direction: Direction) -> None:
        poller = select.poll()
        poller.register(self, event)
        self._sends = direction is Direction.ANSWER
        while not self._poll(poller, self.paces[direction]) and direction not in self.cut_off:
            if self.paces[direction].left <= 0:
                self.too_slow = True
                self._on_slow(direction)
                raise TooSlow(f"the client makes the server wait too long for the {direction}")
            self._take_slow_place(self.paces[direction])
        self._sends = False

    def _poll(self, poller: select.poll, pace: Pace) -> bool:
        """Wait for the socket, briefly or until a place is needed. Return whether it is ready."""
        began = self._clock()
        left = min(pace.left, _LONGEST_POLL)
        if self._needs_place():
            left = min(left, max(0.0, WITHOUT_PLACE - pace.waited))
        ready = left > 0 and bool(poller.poll(left * 1000))
        pace.count_wait(self._clock() - began)
        return ready

    def _needs_place(self) -> bool:
        return self._take_place is not None and (self._place is None or self._place.lost)

    def _take_slow_place(self, pace: Pace) -> None:
        if self._take_place and self._needs_place() and pace.waited >= WITHOUT_PLACE:
            self._place = self._take_place(self.holder, 1, self._give_way)
            if self._place is None:
                self.refused = True
                raise TooSlow("the places for slow clients are taken")

    def _give_way(self) -> None:
        self.cut(Direction.ANSWER if self._sends else Direction.BODY)


def connection_of(environ: Mapping[str, Any]) -> Connection | None:
    """Return the client's connection of a WSGI environment; None in tests without a server."""
    connection = environ.get("gunicorn.socket")
    return connection if isinstance(connection, Connection) else None
