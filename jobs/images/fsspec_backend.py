"""An image store in a folder or bucket (S3 and others), through fsspec: one file for each object, in one folder."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from jobs.errors import ImagesUnavailable

#: Marks the folder of an image store: an empty folder without it may be a volume that is not mounted.
MARKER = ".boomerang-images"

log = logging.getLogger(__name__)


class Bucket:
    """One folder or bucket. fsspec's package for its scheme finds keys and regions in the environment."""

    def __init__(self, url: str) -> None:
        self._files: Any
        self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self._marked = False

    def write(self, name: str, data: bytes) -> None:
        """Store an object."""
        try:
            if not self._marked:
                self._mark()
            self._files.pipe_file(self._path(name), data)
            if isinstance(self._files, LocalFileSystem):
                # A bucket answers when the object is durable. A folder needs fsync for that.
                _to_disk(self._path(name), self._root)
        except Exception as error:
            raise self._away(error) from error

    def read(self, name: str) -> bytes | None:
        """Read an object; None where it does not exist."""
        try:
            data: bytes = self._files.cat_file(self._path(name))
        except FileNotFoundError as error:
            if self._is_ours():
                return None
            raise self._away(error) from error
        except Exception as error:
            raise self._away(error) from error
        return data

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects."""
        for name in names:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                continue
            except Exception as error:
                raise self._away(error) from error

    def _mark(self) -> None:
        if isinstance(self._files, LocalFileSystem):
            self._files.makedirs(self._root, exist_ok=True)
        if not self._files.exists(self._path(MARKER)):
            self._files.pipe_file(self._path(MARKER), b"Images of Boomerang's jobs; see docs/guides/store-images.md.\n")
        self._marked = True

    def _is_ours(self) -> bool:
        try:
            return bool(self._files.exists(self._path(MARKER)))
        except Exception as error:
            raise self._away(error) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _away(self, error: Exception) -> ImagesUnavailable:
        # Each file system has different errors. Their texts may contain addresses, but no keys.
        log.warning("the image store failed: %s: %s", type(error).__name__, error)
        return ImagesUnavailable(f"The image store (BOOMERANG_IMAGE_STORE) failed: {type(error).__name__}")


def _to_disk(*paths: str) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
