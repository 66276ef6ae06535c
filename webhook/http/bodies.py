"""Request bodies, read with a bound on what they may take of memory."""

import gzip
import time
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from flask import Request
from werkzeug.exceptions import ClientDisconnected

from webhook.http.problems import ProblemError

_CHUNK = 64 * 1024
_DRAIN_BYTES = 256 * 1024 * 1024
_DRAIN_SECONDS = 5.0
#: The sender went away: as gunicorn says it, and as Werkzeug does.
_BROKEN_OFF = (OSError, ClientDisconnected)


class Stream(Protocol):
    """Where bytes come from."""

    def read(self, size: int = -1, /) -> bytes: ...


def checked_length(request: Request, limit: int) -> int:
    """The announced length of a body that is to be read whole; 411 without one, 413 over the limit.

    A chunked body would have to be cut off somewhere, and Flask does that without a word: so a length is required.
    """
    length = request.content_length
    if length is None:
        raise ProblemError(411, "Send a Content-Length header; chunked bodies are taken by POST /v1/batches only.")
    if length > limit:
        raise ProblemError(413, f"The body is {length:,} bytes long; at most {limit:,} are taken.")
    return length


def read_whole(request: Request, length: int) -> bytes:
    """The body, all of it; 400 when it ended early."""
    try:
        body = request.stream.read(length)
    except _BROKEN_OFF:
        body = b""
    if len(body) != length:
        raise ProblemError(400, f"The body ended before its {length:,} bytes; send it again.")
    return body


def drain(request: Request) -> None:
    """Read on and forget, within bounds: a sender that is cut off while it sends never gets to see the answer."""
    end = time.monotonic() + _DRAIN_SECONDS
    left = _DRAIN_BYTES
    try:
        while left > 0 and time.monotonic() < end and (data := request.stream.read(_CHUNK)):
            left -= len(data)
    except _BROKEN_OFF:
        return


class Counted:
    """The request's stream, which knows when it ended early."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream
        self._left = request.content_length

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; b'' at the end. Raises `ProblemError` when the sender broke off."""
        try:
            data = self._stream.read(size)
        except _BROKEN_OFF as error:
            raise ProblemError(400, "The body broke off; send it again.") from error
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left > 0:
                raise ProblemError(400, "The body ended before its Content-Length; send it again.")
        return data


def decoded(request: Request) -> Stream:
    """The body as it was before Content-Encoding; 415 for an encoding other than gzip."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return Counted(request)
    if encoding in ("gzip", "x-gzip"):
        return _Gunzipped(Counted(request))
    raise ProblemError(415, "Content-Encoding may be gzip or left out.", headers={"Accept-Encoding": "gzip"})


class _Gunzipped:
    """A gzip stream opened as it is read: what comes out is bounded by `size`, however well it was packed."""

    def __init__(self, packed: Stream) -> None:
        source: Any = packed
        self._file = gzip.GzipFile(fileobj=source, mode="rb")

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ProblemError(400, f"The body is not whole gzip: {error}. Send it again.") from error


def lines(stream: Stream, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a body with their numbers (from 1), without their ends; None for one of more than `limit` bytes.

    Holds one line and one chunk at a time. Each piece of a long line is kept as it came: no byte is copied twice.
    """
    number, parts, size = 1, list[bytes](), 0
    while chunk := stream.read(_CHUNK):
        first, *others = chunk.split(b"\n")
        for piece in (first, *others[:-1]) if others else ():
            size += len(piece)
            parts.append(piece)
            yield number, b"".join(parts) if size <= limit else None
            number, parts, size = number + 1, [], 0
        rest = others[-1] if others else first
        size += len(rest)
        if size <= limit:
            parts.append(rest)
        else:
            parts = []
    if size:
        yield number, b"".join(parts) if size <= limit else None
