"""A store of objects at a URL: `file:///srv/results`, `s3://bucket/results`. It recognizes itself by a marker.

A folder without the marker may be a volume that is not mounted: what it lacks is not missing, and what is written
there is out of sight once the volume is mounted.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import fsspec

from jobs.blobs.blob import ABANDONED, KEPT_FOR, Blob, Draft, Files
from jobs.blobs.folder import Folder
from jobs.blobs.full_disk import describe
from jobs.blobs.remote import Remote
from jobs.errors import StoreUnavailable

log = logging.getLogger(__name__)

BYTES = "application/octet-stream"
#: What a name that is no object's raises: it is none's, a folder's, or below an object.
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a store is for. `name`: in messages. `setting`: the variable with its URL. `marker`: the file that marks it.

    `error`: what its methods raise.
    """

    name: str
    setting: str
    marker: str
    error: type[StoreUnavailable]

    def __str__(self) -> str:
        """Return its name and its setting."""
        return f"{self.name} ({self.setting})"


def never() -> bool:
    """Return that the service has not used this store before."""
    return False


class Bucket:
    """A folder or bucket. fsspec's package for its scheme finds keys and regions in the environment.

    `used_before`: whether the service has written to it, so that it must have its marker. All methods raise the
    purpose's error.
    """

    def __init__(self, url: str, purpose: Purpose, used_before: Callable[[], bool] = never) -> None:
        self._purpose = purpose
        self._used_before = used_before
        self._marked = False
        try:
            self._files, self._is_folder = _open(url)
        except Exception as error:
            raise purpose.error(f"{purpose.setting} cannot be opened: {type(error).__name__}: {error}") from error

    def mark(self) -> None:
        """Mark a store that is used for the first time. Raise if it was used before and has no marker."""
        # A folder's volume can go away at any time, and looking costs little.
        if self._marked and not self._is_folder:
            return
        with self._translated():
            used = self._marked  # before the look, because another thread may mark it meanwhile
            if not self._has_marker():
                if (used or self._used_before()) and not self._has_marker():
                    self._refuse_unmarked()
                text = f"The {self._purpose}, by Boomerang. Do not delete this file.\n"
                self._files.write(self._purpose.marker, text.encode(), "text/plain")
        self._marked = True

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Open a draft for `put`. It is removed at the end of the block."""
        self.mark()
        with ExitStack() as stack:
            with self._translated():  # what fails inside the block is not the store's
                draft = stack.enter_context(self._files.draft())
            yield draft

    def put(self, draft: Draft, name: str, content_type: str = BYTES) -> None:
        """Make a draft an object, in one step. It is durable when this returns, and replaces an older one."""
        self.mark()
        with self._translated():
            self._files.put(draft, name, content_type)

    def write(self, name: str, data: bytes, content_type: str = BYTES) -> None:
        """Store an object, as `put` does."""
        self.mark()
        with self._translated():
            self._files.write(name, data, content_type)

    def read(self, name: str) -> bytes | None:
        """Read an object; None: it certainly does not exist."""
        with self._translated():
            try:
                return self._files.read(name)
            except ABSENT as error:
                self._check_marker(error)
                return None

    def stream(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Read the bytes from `start` to before `end`, in pieces. `info` tells whether there is such an object."""
        with self._translated():
            yield from self._files.stream(name, start, end)

    def info(self, name: str) -> Blob | None:
        """Return size and time of an object; None: it certainly does not exist."""
        with self._translated():
            try:
                return self._files.info(name)
            except ABSENT as error:
                self._check_marker(error)
                return None

    def list(self, prefix: str = "") -> Iterator[Blob]:
        """Yield the objects whose names begin with `prefix`, in no special order, in bounded memory."""
        with self._translated():
            self._check_marker()
            yield from self._files.list(prefix)

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects that exist; ignore others."""
        with self._translated():
            self._files.remove(names)

    def link(
        self, name: str, seconds: float, *, content_type: str | None = None, filename: str | None = None
    ) -> str | None:
        """Return an address at which anybody can read the object for `seconds`; None if the store has no such.

        `content_type` and `filename`: what its answers say.
        """
        try:
            return self._files.link(name, seconds, content_type, filename)
        except Exception as error:  # noqa: BLE001 - each package raises others, for instance without a key to sign with
            log.warning("the %s signs no addresses: %s: %s", self._purpose.name, type(error).__name__, error)
            return None

    def check_sweep(self) -> None:
        """Raise the purpose's error if `sweep` lacks a right. It changes nothing."""
        with self._translated():
            self._files.check_sweep()

    def sweep(self, older_than: float = ABANDONED, kept_for: float = KEPT_FOR) -> int:
        """Remove what killed writers left, and what was kept for too long; return how many objects and uploads."""
        with self._translated():
            return self._files.sweep(older_than, kept_for)

    def _check_marker(self, cause: Exception | None = None) -> None:
        if not self._has_marker():
            self._refuse_unmarked(cause)

    def _has_marker(self) -> bool:
        try:
            self._files.info(self._purpose.marker)
        except ABSENT:
            return False
        return True

    def _refuse_unmarked(self, cause: Exception | None = None) -> NoReturn:
        raise self._purpose.error(
            f"The {self._purpose} has no file {self._purpose.marker}: it may be a volume that is not mounted. "
            "Mount it, or correct the setting."
        ) from cause

    @contextmanager
    def _translated(self) -> Iterator[None]:
        # Each file system has different errors. Their texts may contain addresses, but no keys.
        try:
            yield
        except (StoreUnavailable, GeneratorExit):
            raise
        except Exception as error:
            log.warning("the %s failed: %s: %s", self._purpose.name, type(error).__name__, error)
            raise self._purpose.error(f"The {self._purpose} failed: {describe(error)}") from error


def _open(url: str) -> tuple[Files, bool]:
    """Return the folder or bucket of a URL, and whether it is a folder."""
    scheme = url.partition("://")[0]
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    if scheme in ("file", "local"):
        return Folder(Path(root)), True
    return Remote(files, scheme, root.rstrip("/")), False
