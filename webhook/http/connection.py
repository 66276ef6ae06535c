"""A client's connection, which ends when the client makes a thread wait too long.

gunicorn has no limit: a client that sends or reads a byte now and then could occupy a thread for hours.
"""

import errno
import select
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from webhook.http.fair_pool import Place

#: Bytes per second at which a client must send a body, and read an answer.
LEAST_RATE = 8 * 1024
#: Seconds that a client may make a thread wait before that rate counts, and the most that it can save up.
GRACE = 10.0
MOST_CREDIT = 30.0
#: Seconds of waiting after which a client keeps its place until its request ends. Before, each wait gives it back.
BRIEF = 1.0
_LONGEST_POLL = 0.5
#: Seconds that a client may make a thread wait for a body, and with an answer, at any rate.
LONGEST_BODY = 60.0
LONGEST_ANSWER = 1800.0
#: Seconds that a producer with a place may be slower, while nobody else wants the place: without any byte, and in all.
LONGEST_SILENCE = 60.0
LONGEST_PATIENCE = 4 * 3600.0


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
    silent: float = 0.0
    #: Whether the client is slower than it may be where others want its place.
    is_slow: bool = False

    @property
    def left(self) -> float:
        """The seconds for which a thread may wait now."""
        return min(self.credit, self.longest - self.waited)

    @property
    def left_for_patience(self) -> float:
        """The same where nobody else wants the place."""
        return min(LONGEST_SILENCE - self.silent, LONGEST_PATIENCE - self.waited)

    def count_bytes(self, count: int) -> None:
        """Count bytes that arrived or were read: each of them allows the client to be that much slower."""
        self.credit = max(self.credit, min(MOST_CREDIT, self.credit + count / LEAST_RATE))
        self.silent = 0.0
        if self.credit >= BRIEF and self.waited < self.longest:
            self.is_slow = False

    def count_wait(self, seconds: float) -> None:
        """Count seconds for which a thread waited for the client."""
        # No debt: who was slow for long, and is faster now, is no longer slow.
        self.credit = max(0.0, self.credit - seconds)
        self.waited += seconds
        self.silent += seconds
        if self.left <= 0:
            self.is_slow = True


class TakePlace(Protocol):
    """Returns a place for a client that a thread waits for, or None if its holder has its share.

    `producer` is "" for a request without a valid key; those of an `address` then share. `is_slow`: of `Place`.
    """

    def __call__(self, producer: str, address: str, is_slow: Callable[[], bool], /) -> Place | None: ...


class Direction(StrEnum):
    """What a thread waits for."""

    BODY = "body"
    ANSWER = "answer"


class Connection(socket.socket):
    """The socket of a client. Only time that a thread spends waiting for the client counts, not our own work.

    `on_slow` is called with the direction in which the client was too slow. `producer`: the name of the producer that
    makes the request; "" without a valid key. `in_haste`: the client must not be slow, whoever wants its place.
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

    def begin_request(
        self, address: str = "", take_place: TakePlace | None = None, waits: Collection[Direction] = tuple(Direction)
    ) -> None:
        """Begin to count anew, for the next request. Threads wait for it in the directions `waits`, with a place."""
        self.paces = {Direction.BODY: Pace(LONGEST_BODY), Direction.ANSWER: Pace(LONGEST_ANSWER)}
        self.producer = ""
        self.too_slow = self.refused = self.in_haste = False
        self.cut_off: frozenset[Direction] = frozenset()
        self.waits = frozenset(waits)
        self._address = address
        self._take_place = take_place

    def wait_for(self, direction: Direction, *, allowed: bool) -> None:
        """Let threads wait in this direction from now on, or only use what is there."""
        self.waits = self.waits | {direction} if allowed else self.waits - {direction}

    def give_back(self) -> None:
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

    def has_gone(self) -> bool:
        """Return whether the client has closed the connection, or its sending side. For work without any output."""
        try:
            return super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send_now(self, data: bytes) -> None:
        """Send as much as possible without waiting. Raises `OSError`."""
        super().send(data, socket.MSG_DONTWAIT)

    def send(self, data: Any, flags: int = 0, /) -> int:
        """Send all of `data`, and return its length. Raises `TooSlow`. gunicorn sends "100 Continue" with it."""
        self.sendall(data, flags)
        return len(data)

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
        pace = self.paces[direction]
        while direction not in self.cut_off:
            if direction not in self.waits:
                self.too_slow = True
                raise TooSlow(f"this kind of request does not wait for the {direction}")
            left = pace.left_for_patience if self._is_patient else pace.left
            if left <= 0:
                self.too_slow = True
                self._on_slow(direction)
                raise TooSlow(f"the client makes the server wait too long for the {direction}")
            self._have_place()
            began = self._clock()
            ready = poller.poll(min(left, _LONGEST_POLL) * 1000)
            pace.count_wait(self._clock() - began)
            if ready:
                break
            if self._place and self._place.lost:
                self.cut(direction)
        if pace.waited < BRIEF:
            self.give_back()

    @property
    def _is_patient(self) -> bool:
        """Whether a producer makes the request, in a place that another one can take."""
        return bool(self._take_place and self.producer and not self.in_haste)

    def is_slow(self) -> bool:
        """Return whether the client is slower than it may be where others want its place. For other threads."""
        return any(pace.is_slow for pace in self.paces.values())

    def _have_place(self) -> None:
        if self._take_place is None or (self._place and not self._place.lost):
            return
        self._place = self._take_place(self.producer, self._address, self.is_slow)
        if self._place is None:
            self.refused = True
            raise TooSlow("the places for slow clients are taken")


def connection_of(environ: Mapping[str, Any]) -> Connection | None:
    """Return the client's connection of a WSGI environment; None in tests without a server."""
    connection = environ.get("gunicorn.socket")
    return connection if isinstance(connection, Connection) else None
