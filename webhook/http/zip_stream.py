"""A ZIP archive that is sent while it is made: stored, not compressed, because images are compressed already.

Sizes and checksums follow each file, as the format allows (APPNOTE.TXT, 4.3.9). `zipfile` writes ZIP64 where an archive
or a file needs it. In memory is only the directory at the end, about a kilobyte for each file.
"""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from zipfile import ZIP_STORED, ZipFile, ZipInfo

#: The format has no earlier times.
_FIRST = datetime(1980, 1, 1, tzinfo=UTC)
#: -rw-r--r--, as `ZipInfo.external_attr` has it.
_READABLE = 0o644 << 16


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._pieces = list[bytes]()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # zipfile writes bytes
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class ZipStream:
    """An archive under construction. Each method yields the bytes to send."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = ZipFile(self._sink, "w", ZIP_STORED)

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    @property
    def count(self) -> int:
        """The number of files."""
        return len(self._zip.NameToInfo)

    def add(self, name: str, size: int, modified: datetime, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Add a file of `size` bytes, from its pieces."""
        about = ZipInfo(name, max(modified.astimezone(UTC), _FIRST).timetuple()[:6])
        about.file_size = size  # whether the file needs ZIP64
        about.external_attr = _READABLE
        with self._zip.open(about, "w") as file:
            for piece in pieces:
                file.write(piece)
                yield self._sink.take()
        yield self._sink.take()

    def end(self) -> Iterator[bytes]:
        """Write the directory. Without it no program opens the archive, so one that was cut off is noticed."""
        self._zip.close()
        yield self._sink.take()
