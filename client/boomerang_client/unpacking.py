"""Open files as they are, compressed or not: gzip is recognised by its first bytes, not by the file's name."""

import gzip
import io
import zlib
from typing import BinaryIO
from zipfile import BadZipFile

from boomerang_client.errors import UsageError
from boomerang_client.file_kinds import GZIP, HEAD, ZIP, refuse_other_kinds, wide_encoding

#: Layers of compression that are removed. Some web servers compress a .gz once more.
_LAYERS = 3
#: Bytes that tell all kinds apart which a stream may begin with before it pauses.
_FEWEST = 8


class PeekableFile(io.RawIOBase):
    """A binary file, readable once, whose first bytes can be read in advance.

    Raises UsageError when the file is damaged. Reads return what has arrived, so that a slow pipe stays a stream.
    """

    def __init__(self, file: BinaryIO, name: str = "") -> None:
        self._read, self._name = getattr(file, "read1", file.read), name
        self._head = b""

    def peek(self) -> bytes:
        """Return the first bytes: at least 8, or a line, or all there are."""
        while len(self._head) < _FEWEST and b"\n" not in self._head and (more := self._some(HEAD)):
            self._head += more
        return self._head

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        """Read bytes into the buffer, and return how many. 0 is the end."""
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _some(self, size: int) -> bytes:
        try:
            return self._read(size)
        except EOFError as error:
            raise UsageError(
                f"{self._name or 'The input'} is cut off: its compressed data has no end. Copy or download it again."
            ) from error
        except (OSError, zlib.error, BadZipFile) as error:
            raise UsageError(
                f"{self._name or 'The input'} cannot be read: {error}. Copy or download it again."
            ) from error


def unpack(file: BinaryIO, name: str = "") -> tuple[BinaryIO, str | None]:
    """Return the text of a file, decompressed if it is gzip, and its encoding if that is UTF-16 or UTF-32, else None.

    Raises UsageError when it is a zip archive, a workbook or a file of another kind that is not text.
    """
    text, head = peel_gzip(file, name)
    if head.startswith(ZIP):
        raise UsageError(
            f"{name or 'The input'} is a workbook or a zip archive. Send it with the command: boomerang enqueue FILE."
        )
    return text, wide_encoding(head)


def peel_gzip(file: BinaryIO, name: str = "") -> tuple[BinaryIO, bytes]:
    """Return a file without its layers of gzip, and its first bytes. Raises UsageError for kinds that are refused."""
    for _ in range(_LAYERS + 1):
        source = PeekableFile(file, name)
        head = source.peek()
        file = io.BufferedReader(source)
        if not head.startswith(GZIP):
            refuse_other_kinds(head, name)
            return file, head
        file = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    raise UsageError(f"{name or 'The input'} is compressed more than {_LAYERS} times. Unpack it.")
