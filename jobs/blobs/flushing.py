"""Flush folders to disk, so that new names in them survive a power cut. Threads that wait at once share a flush."""

import os
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class _Flushes:
    """The flushes of one folder: how many began, and the last that ended."""

    begun: int = 0
    ended: int = 0
    running: bool = False
    waiting: int = 0


class FolderFlusher:
    """Flushes folders; several threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._folders: dict[Path, _Flushes] = {}

    def flush(self, folder: Path) -> None:
        """Return once a flush of the folder has ended that began after this call."""
        with self._changed:
            flushes = self._folders.setdefault(folder, _Flushes())
            flushes.waiting += 1
            wanted = flushes.begun + 1
            try:
                while flushes.ended < wanted:
                    if flushes.running:
                        self._changed.wait()
                    else:
                        self._run(folder, flushes)
            finally:
                flushes.waiting -= 1
                if not flushes.waiting:
                    self._folders.pop(folder, None)

    def _run(self, folder: Path, flushes: _Flushes) -> None:
        flushes.running = True
        flushes.begun += 1
        number = flushes.begun
        self._changed.release()
        try:
            _flush(folder)
        finally:
            self._changed.acquire()
            flushes.running = False
            self._changed.notify_all()
        flushes.ended = number


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
