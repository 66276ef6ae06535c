"""Bodies of batch uploads: NDJSON read while it is sent, never whole in memory.

A body says whether it can be sent again from its start (`repeatable`). Those that can have the `tell` and `seek` by
which urllib3 rewinds a body before it repeats a request; a body that cannot must never be repeated, since the repeat
would silently send only what was left of it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from boomerang_client.errors import UsageError

Line: TypeAlias = "Mapping[str, Any] | bytes"
Lines: TypeAlias = "Iterable[Line] | Path | BinaryIO"
Progress: TypeAlias = Callable[[int], None]

CHUNK = 64 * 1024


class FileBody:
    """A seekable binary file from its current position to its present end (what is appended later is not sent)."""

    repeatable = True

    def __init__(self, file: BinaryIO, progress: Progress | None = None) -> None:
        self._file, self._progress = file, progress
        self._start = file.tell()
        self._size = file.seek(0, 2) - self._start
        self._sent = 0
        file.seek(self._start)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(CHUNK), b"")

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._sent
        data = self._file.read(left if size < 0 else min(size, left))
        self._sent += len(data)
        if self._progress is not None:
            self._progress(self._sent)
        return data

    def tell(self) -> int:
        return self._sent

    def seek(self, position: int) -> int:
        self._file.seek(self._start + position)
        self._sent = position
        return position


class LinesBody:
    """Lines of a collection (repeatable) or of a one-pass iterator (not); the length is not known beforehand."""

    def __init__(self, lines: Iterable[Line], progress: Progress | None = None) -> None:
        self._lines, self._progress = lines, progress
        self._chunks = self._encode()
        self._sent = 0
        # Not every iterable begins anew when it is iterated again: an open file's wrapper goes on where it stood.
        self.repeatable = isinstance(lines, Collection)

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(CHUNK), b"")

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 -- urllib3 takes what it is given; a chunk is about CHUNK
        data = next(self._chunks, b"")
        self._sent += len(data)
        if self._progress is not None:
            self._progress(self._sent)
        return data

    def tell(self) -> int:
        return self._sent

    def seek(self, position: int, whence: int = 0) -> int:
        if position or whence or not self.repeatable:
            raise OSError("lines can only be read from their start")  # requests asks so and takes it for "no length"
        self._chunks, self._sent = self._encode(), 0
        return 0

    def _encode(self) -> Iterator[bytes]:
        chunk = bytearray()
        for number, line in enumerate(self._lines, start=1):
            chunk += line.rstrip(b"\r\n") if isinstance(line, bytes) else encode(line, f"Line {number}")
            chunk += b"\n"
            if len(chunk) >= CHUNK:
                yield bytes(chunk)
                chunk.clear()
        if chunk:
            yield bytes(chunk)


def encode(request: Mapping[str, Any], what: str = "The request") -> bytes:
    """A request as JSON in UTF-8, on one line; raises UsageError for what JSON cannot hold."""
    if not isinstance(request, Mapping):
        raise UsageError(f"{what} is {type(request).__name__}; give a mapping, or JSON as bytes.")
    try:
        return json.dumps(dict(request), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} cannot be written as JSON: {error}. Use text, numbers, lists and objects.") from error


def body_of(lines: "Iterable[Line] | BinaryIO", progress: Progress | None = None) -> FileBody | LinesBody:
    """The body for an open binary file (a pipe is read line by line) or for lines; raises UsageError for text."""
    if not hasattr(lines, "read"):
        return LinesBody(lines, progress)
    file = cast("BinaryIO", lines)
    if not isinstance(file.read(0), bytes):
        raise UsageError('Open the file in binary mode ("rb").')
    return FileBody(file, progress) if file.seekable() else LinesBody(file, progress)
