"""What a folder and a bucket have in common."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol

#: Bytes read or sent at once.
PIECE = 256 * 1024
#: Seconds since the last write after which a file or upload that was never put counts as a killed writer's.
ABANDONED = 6 * 3600.0
#: Seconds since the last write after which an object that was kept for a later try is removed.
KEPT_FOR = 3 * 24 * 3600.0
#: Objects whose name begins so are the layer's own, and are in no list.
OWN = ".boomerang-"
#: The folder of objects that a failed try keeps for the next one.
KEPT = f"{OWN}kept"


@dataclass(frozen=True, slots=True)
class Blob:
    """An object: its name, its size in bytes, and when it was last written."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Draft:
    """A local file whose bytes become an object when it is put. Until then no reader sees any of it.

    `path`: its name on disk, where it has one.
    """

    file: IO[bytes]
    path: str | None = None


class Files(Protocol):
    """A folder or bucket. Names have parts separated by /. Methods raise what the library below raises."""

    def draft(self) -> AbstractContextManager[Draft]:
        """Open a draft, which is removed at the end of the block."""

    def put(self, draft: Draft, name: str, content_type: str) -> None:
        """Make a draft the object `name`, in one step. It is durable when this returns. It replaces an older one."""

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Store an object, as `put` does."""

    def read(self, name: str) -> bytes:
        """Read a whole object. Raises `FileNotFoundError`."""

    def stream(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`, in pieces. Raises `FileNotFoundError` at the first piece."""

    def info(self, name: str) -> Blob:
        """Return what is known of an object. Raises `FileNotFoundError`."""

    def list(self, prefix: str) -> Iterator[Blob]:
        """Yield the objects whose names begin with `prefix`, in no special order, in bounded memory."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects that exist; ignore others."""

    def link(self, name: str, seconds: float, content_type: str | None, filename: str | None) -> str | None:
        """Return an address at which anybody can read the object for `seconds`; None where there is no such."""

    def check_sweep(self) -> None:
        """Raise if `sweep` lacks a right to find what killed writers left. It changes nothing."""

    def sweep(self, older_than: float, kept_for: float) -> int:
        """Remove what killed writers left before `older_than` seconds, and what was kept longer; return how many."""


@contextmanager
def closing_draft(file: IO[bytes]) -> Iterator[None]:
    """Close a draft at the end. Bytes that were not flushed are not wanted, so a full disk is no error here."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def is_relative_name(name: str) -> bool:
    """Return whether a name stays below the root of its store."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def is_object_name(name: str) -> bool:
    """Return whether an object may have this name, which somebody else may have written."""
    return is_relative_name(name) and not any(part.startswith(OWN) for part in name.split("/"))
