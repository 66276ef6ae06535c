"""A client's connection, which ends when the client makes a thread wait too long.

gunicorn has no limit: a client that sends or reads a byte now and then could occupy a thread for hours.
"""

import errno
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: Bytes per second at which a client must send a body, and read an answer.
LEAST_RATE = 8 * 1024
#: Seconds that a client may make a thread wait before that rate counts, and the most that it can save up.
GRACE = 10.0
MOST_CREDIT = 30.0
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


class Connection(socket.socket):
    """The socket of a client. Only time that a thread spends waiting for the client counts, not our own work.

    `on_slow` is called with "body" or "answer" when the client was too slow in this direction.
    """

    def __init__(
        self,
        accepted: socket.socket,
        on_slow: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._on_slow = on_slow
        self._clock = clock
        self.begin_request()

    def begin_request(self) -> None:
        """Begin to count anew, for the next request."""
        self.body = Pace(LONGEST_BODY)
        self.answer = Pace(LONGEST_ANSWER)
        self.too_slow = False

    def receive_now(self, size: int) -> bytes:
        """Return what has arrived, up to `size` bytes; b'' at the end. Raises `BlockingIOError` if nothing has."""
        return super().recv(size, socket.MSG_DONTWAIT)

    def send_now(self, data: bytes) -> None:
        """Send as much as possible without waiting. Raises `OSError`."""
        super().send(data, socket.MSG_DONTWAIT)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Wait for bytes of the body, and return them. Raises `TooSlow`."""
        while True:
            try:
                data = super().recv(size, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLIN, self.body, "body")
            else:
                self.body.count_bytes(len(data))
                return data

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send all of `data`. Raises `TooSlow`."""
        left = memoryview(data).cast("B")
        while left:
            try:
                sent = super().send(left, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(select.POLLOUT, self.answer, "answer")
            else:
                self.answer.count_bytes(sent)
                left = left[sent:]

    def _wait(self, event: int, pace: Pace, direction: str) -> None:
        poller = select.poll()
        poller.register(self, event)
        began = self._clock()
        ready = pace.left > 0 and poller.poll(pace.left * 1000)
        pace.count_wait(self._clock() - began)
        if not ready:
            self.too_slow = True
            self._on_slow(direction)
            raise TooSlow(f"the client makes the server wait too long for the {direction}")
