"""A folder of this machine, or one that several machines mount.

A draft is a file in a folder of its own on the same file system, so a rename makes it the object in one step. What is
put survives a power cut: the file and the folder that names it are flushed to disk.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from jobs.blobs.blob import KEPT, OWN, PIECE, Blob, Draft, closing_draft, is_relative_name
from jobs.blobs.flushing import FolderFlusher

#: The folder of drafts.
DRAFTS = f"{OWN}drafts"


class Folder:
    """Objects as files below `root`. A name that leads elsewhere is no object's."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._flusher = FolderFlusher()

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """Open a draft."""
        path = self._root / DRAFTS / token_hex(16)
        file = _create(path)
        try:
            with closing_draft(file):
                yield Draft(file, str(path))
        finally:
            path.unlink(missing_ok=True)

    def put(self, draft: Draft, name: str, content_type: str) -> None:  # noqa: ARG002 - a folder keeps no types
        """Rename a draft."""
        assert draft.path is not None  # noqa: S101 - it is a draft of a folder
        draft.file.flush()
        os.fsync(draft.file.fileno())
        target = self._path(name)
        while True:
            made = _make_folder(target.parent)
            try:
                Path(draft.path).replace(target)
                break
            except FileNotFoundError:
                # Another process removed the folder, because it was empty.
                if not Path(draft.path).exists():
                    raise
        for folder in {target.parent, *made}:
            self._flusher.flush(folder)

    def write(self, name: str, data: bytes, content_type: str) -> None:
        """Store an object."""
        with self.draft() as draft:
            draft.file.write(data)
            self.put(draft, name, content_type)

    def read(self, name: str) -> bytes:
        """Read a whole object."""
        return self._path(name).read_bytes()

    def stream(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Read a range in pieces."""
        with self._path(name).open("rb") as file:
            file.seek(start)
            while start < end and (piece := file.read(min(PIECE, end - start))):
                yield piece
                start += len(piece)

    def info(self, name: str) -> Blob:
        """Return what is known of an object."""
        found = self._path(name).stat()
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(name)
        return _blob(name, found)

    def list(self, prefix: str) -> Iterator[Blob]:
        """Yield objects, one folder after another."""
        folder, _, _ = prefix.rpartition("/")
        waiting = [folder]
        while waiting:
            inside = waiting.pop()
            above = f"{inside}/" if inside else ""
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._root / inside) as entries:
                for entry in entries:
                    name = above + entry.name
                    if entry.name.startswith(OWN):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                            waiting.append(name)
                    elif name.startswith(prefix):
                        with suppress(FileNotFoundError):  # removed meanwhile
                            yield _blob(name, entry.stat())

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects, and the folders that are empty without them."""
        for name in filter(is_relative_name, names):
            path = self._root / name
            path.unlink(missing_ok=True)
            for folder in path.relative_to(self._root).parents:
                if folder == Path():
                    break
                try:
                    (self._root / folder).rmdir()
                except OSError:  # it has other objects
                    break

    def link(self, name: str, seconds: float, content_type: str | None, filename: str | None) -> None:
        """Return None: a folder has no addresses."""

    def _path(self, name: str) -> Path:
        if not is_relative_name(name):
            raise FileNotFoundError(f"{name!r} is not the name of an object")
        return self._root / name

    def check_sweep(self) -> None:
        """Do nothing: who may write to a folder may list it."""

    def sweep(self, older_than: float, kept_for: float) -> int:
        """Remove drafts, and what was kept."""
        return _sweep(self._root / DRAFTS, older_than) + _sweep(self._root / KEPT, kept_for)


def _sweep(folder: Path, older_than: float) -> int:
    count = 0
    before = time.time() - older_than
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.stat().st_mtime < before:
                    Path(entry.path).unlink()
                    count += 1
    return count


def _create(path: Path) -> BinaryIO:
    try:
        return path.open("x+b")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("x+b")


def _make_folder(folder: Path) -> list[Path]:
    """Create a folder; return the folders that name the new ones."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return [each.parent for each in missing]


def _blob(name: str, found: os.stat_result) -> Blob:
    return Blob(name, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
