"""Request bodies, read with limited memory."""

import gzip
import time
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected

from webhook.http.connection import LEAST_RATE, Direction, connection_of
from webhook.http.fair_pool import Place
from webhook.http.problems import ProblemError, unavailable

_CHUNK = 64 * 1024
#: Bytes of a body, and of a long line, that are accounted for at once.
_PIECE = 1024 * 1024
#: Most bytes that a byte of a compressed body may stand for, and how many bytes are never too many. Lines with equal
#: long prompts have about 150, equal short lines up to 273, so that a few MiB are free.
MOST_RATIO = 250
FREE_BYTES = 4 * 1024 * 1024
#: Bytes of a form. It holds a key and a CSRF token.
MOST_FORM = 8 * 1024
_DRAIN_SECONDS = 5.0
#: Seconds for which a thread waits for a callback's body, for the body of a job or image, and for a batch's.
_CALLBACK_SECONDS = 10.0
_WHOLE_SECONDS = 300.0
_STREAM_SECONDS = 1800.0
#: What gunicorn and Werkzeug raise when the client is gone, or its chunks are not valid.
_BROKEN = (OSError, ClientDisconnected, ParseException)


class Stream(Protocol):
    """A source of bytes."""

    def read(self, size: int = -1, /) -> bytes: ...


def checked_length(request: Request, limit: int) -> int:
    """Return the Content-Length of a body. Raises a problem: 411 without one, 413 over the limit.

    It is required because Flask silently truncates a chunked body that exceeds a limit.
    """
    length = request.content_length
    if length is None:
        raise ProblemError(411, "Send a Content-Length header. Only POST /v1/batches accepts a chunked body.")
    if length > limit:
        raise ProblemError(413, f"The body has {length:,} bytes. Send at most {limit:,}.")
    return length


def read_whole(request: Request, length: int) -> bytes:
    """Read the whole body. Raises a problem, 400, if it ends early."""
    try:
        body = request.stream.read(length)
    except _BROKEN:
        body = b""
    if len(body) != length:
        raise _cut_short(request, f"The body ended after {len(body):,} of {length:,} bytes. Send it again.")
    return body


def read_decoded(request: Request, limit: int, memory: Place) -> bytes:
    """Read a whole body without its Content-Encoding. `limit` holds for the bytes that are sent, and for the result.

    `memory` grows by the bytes of the result. Raises a problem: 411 without a Content-Length, 413 over the limit, 415
    for any encoding but gzip, 400 for a body that ends early or is not valid gzip, 503 if there is no memory for it.
    """
    length = checked_length(request, limit)
    stream = decoded(request, _WHOLE_SECONDS)
    if isinstance(stream, Counted):
        grow(memory, length)
        return read_whole(request, length)
    pieces, size = list[bytes](), 0
    while size <= limit and (piece := stream.read(min(_PIECE, limit + 1 - size))):
        grow(memory, len(piece))
        pieces.append(piece)
        size += len(piece)
    if size > limit:
        raise ProblemError(413, f"The decompressed body has more than {limit:,} bytes. Send at most {limit:,}.")
    return b"".join(pieces)


def grow(memory: Place, size: int) -> None:
    """Account for so many more bytes of a body. Raises a problem, 503, if the producer has its share of the memory."""
    if not memory.grow(size):
        raise unavailable(
            "The bodies of requests fill the webhook's memory (BOOMERANG_BODY_MEMORY), and your key has its share. "
            "Send the same again later, with fewer requests at once or with images as URLs or references."
        )


def read_limited(request: Request, limit: int) -> bytes:
    """Read a whole body, which may be chunked, within ten seconds.

    Raises a problem: 413 if it has more than `limit` bytes, 400 if it ends early or takes longer.
    """
    _wait_at_most(request, _CALLBACK_SECONDS)
    if request.content_length is not None:
        return read_whole(request, checked_length(request, limit))
    try:
        body = request.stream.read(limit + 1)
    except _BROKEN as error:
        raise _cut_short(request, "The body ended early, or its chunks are not valid. Send it again.") from error
    if len(body) > limit:
        raise ProblemError(413, f"The body has more than {limit:,} bytes. Send at most {limit:,}.")
    return body


def read_form(request: Request) -> None:
    """Parse the form in the body; `request.form` then has it. Raises a problem, 400, if it has not arrived.

    No thread waits for it, because anybody may send one: the event loop does (webhook.server.worker).
    """
    if connection := connection_of(request.environ):
        connection.wait_for(Direction.BODY, allowed=False)
    try:
        _ = request.form
    except _BROKEN as error:
        raise ProblemError(400, "The form has not arrived as a whole. Send it again, with a Content-Length.") from error


def drain(request: Request, most: int) -> None:
    """Read and discard up to `most` bytes of a body, for a few seconds: a client that still sends reads no answer."""
    end = time.monotonic() + _DRAIN_SECONDS
    if _is_too_slow(request):
        return
    if connection := connection_of(request.environ):
        connection.in_haste = True
    _wait_at_most(request, _DRAIN_SECONDS)
    try:
        while most > 0 and time.monotonic() < end and (data := request.stream.read(_CHUNK)):
            most -= len(data)
    except _BROKEN:
        return


def _wait_at_most(request: Request, seconds: float) -> None:
    """Let threads wait for the rest of the body for `seconds` in all."""
    if connection := connection_of(request.environ):
        pace = connection.paces[Direction.BODY]
        pace.longest = pace.waited + seconds


def _is_too_slow(request: Request) -> bool:
    connection = connection_of(request.environ)
    return connection is not None and connection.too_slow


def _cut_short(request: Request, detail: str) -> ProblemError:
    """Return the problem of a body that ended early: we cut it, or else the client did as `detail` says."""
    connection = connection_of(request.environ)
    if connection and (connection.refused or Direction.BODY in connection.cut_off):
        return unavailable(
            "Another request needs the place of this one: your key has more than others, or the body came slower than "
            f"{LEAST_RATE:,} bytes per second. Send it again."
        )
    if connection and connection.too_slow:
        detail = "The connection was silent, or the body took too long. Send it again, faster."
    return ProblemError(400, detail)


class Counted:
    """The stream of a request, which notices when it ends early. `size`: the bytes that were read."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._stream = request.stream
        self._left = request.content_length
        self.size = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes, b'' at the end. Raises a problem, 400, if the body ends early."""
        try:
            data = self._stream.read(size)
        except _BROKEN as error:
            raise _cut_short(
                self._request, "The connection broke before the end of the body. Send it again."
            ) from error
        self.size += len(data)
        if self._left is not None:
            self._left -= len(data)
            if not data and self._left > 0:
                raise _cut_short(self._request, "The body is shorter than its Content-Length. Send it again.")
        return data


def decoded(request: Request, seconds: float = _STREAM_SECONDS) -> Stream:
    """Return the body without its Content-Encoding. Threads wait for it for `seconds` in all.

    Raises a problem, 415, for any encoding but gzip.
    """
    _wait_at_most(request, seconds)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return Counted(request)
    if encoding in ("gzip", "x-gzip"):
        return _Gunzipped(Counted(request))
    raise ProblemError(
        415,
        f"Content-Encoding {encoding[:40]!r} is not supported. Use gzip, or leave it out.",
        headers={"Accept-Encoding": "gzip"},
    )


class _Gunzipped:
    """A gzip stream that is decompressed while it is read: one read gives at most `size` bytes.

    Reading raises a problem, 413, if the bytes are far more than were sent: a small body must not cost much memory.
    """

    def __init__(self, packed: Counted) -> None:
        source: Any = packed
        self._packed = packed
        self._file = gzip.GzipFile(fileobj=source, mode="rb")
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._read(size)
        self._size += len(data)
        if self._size > FREE_BYTES + MOST_RATIO * self._packed.size:
            raise ProblemError(
                413,
                f"The decompressed body has more than {MOST_RATIO} times the bytes that were sent. "
                "Send it with less compression, or without.",
            )
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ProblemError(400, f"The body is not valid gzip, or not complete: {error}. Send it again.") from error


def lines(stream: Stream, limit: int, memory: Place | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number, line) for each line, from 1 and without line ends; the line is None if it exceeds `limit` bytes.

    It holds one line and one chunk in memory, and copies each byte of a long line once. `memory` grows with a long
    line. Raises a problem, 503, if there is none left.
    """
    number, parts, size, accounted = 1, list[bytes](), 0, 0
    while chunk := stream.read(_CHUNK):
        held = size if size <= limit else 0
        if memory and (held - accounted >= _PIECE or held < accounted):
            grow(memory, held - accounted)
            accounted = held
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
