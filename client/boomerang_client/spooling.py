"""Read an answer as fast as it comes, however slowly its reader works.

A service ends the answer of a client that reads slowly when other clients need its place. So a thread reads it, and
what the reader has not taken waits in memory, and beyond that in a temporary file.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable
from threading import Condition, Thread
from typing import IO

#: Bytes that wait in memory. What exceeds them waits in a file.
MEMORY = 8 * 1024 * 1024
_PIECE = 64 * 1024


class Spool:
    """Bytes that one thread appends and another one takes, in order."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._most = memory
        self._changed = Condition()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._file: IO[bytes] | None = None
        self._written = self._taken = 0
        self._over = False
        self._error: BaseException | None = None

    def append(self, piece: bytes) -> bool:
        """Append bytes. Return False if nobody takes them any more."""
        with self._changed:
            if self._over:
                return False
            if self._written > self._taken or self._held + len(piece) > self._most:
                self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 -- `close` closes it
                self._file.seek(self._written)
                self._file.write(piece)
                self._written += len(piece)
            else:
                self._pieces.append(piece)
                self._held += len(piece)
            self._changed.notify()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Append no more. The reader gets the error after all bytes."""
        with self._changed:
            self._over, self._error = True, error
            self._changed.notify()

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""
        with self._changed:
            return bool(self._pieces) or self._written > self._taken or self._over

    def take(self) -> bytes:
        """Wait for bytes, and return them; b"" at the end. Raises the error of `end`."""
        with self._changed:
            while not self._pieces and self._written == self._taken and not self._over:
                self._changed.wait()
            if self._pieces:
                piece = self._pieces.popleft()
                self._held -= len(piece)
                return piece
            if self._file and self._written > self._taken:
                self._file.seek(self._taken)
                piece = self._file.read(min(_PIECE, self._written - self._taken))
                self._taken += len(piece)
                if self._taken == self._written:
                    self._file.seek(0)
                    self._file.truncate()
                    self._written = self._taken = 0
                return piece
            if self._error:
                raise self._error
            return b""

    def close(self) -> None:
        """Drop what is left."""
        with self._changed:
            self._over = True
            self._pieces.clear()
            if self._file:
                self._file.close()
                self._file = None
            self._written = self._taken = 0


def lines(
    pieces: "Iterable[bytes]", close: "Callable[[], None]" = lambda: None, memory: int = MEMORY
) -> "Generator[bytes, None, None]":
    """Yield the lines of `pieces`, which a thread reads ahead. Raises what they raise, after the lines before it.

    The thread calls `close` when it has read all, or after the next piece when the iterator is closed.
    """
    spool = Spool(memory)
    Thread(target=_read, args=(pieces, close, spool), name="boomerang-answer", daemon=True).start()
    rest = b""
    try:
        while piece := spool.take():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest
    finally:
        spool.close()


def _read(pieces: "Iterable[bytes]", close: "Callable[[], None]", spool: Spool) -> None:
    try:
        for piece in pieces:
            if not spool.append(piece):
                return
    except BaseException as error:  # noqa: BLE001 -- raised in the reader's thread
        spool.end(error)
    else:
        spool.end()
    finally:
        close()
