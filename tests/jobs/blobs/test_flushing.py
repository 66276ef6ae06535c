"""Threads that flush a folder at once share the work, and none returns before its names are on disk."""

import threading
from pathlib import Path
from typing import Any

import pytest

from jobs.blobs import flushing
from jobs.blobs.flushing import FolderFlusher
from tests.conftest import WaitFor


def test_threads_share_a_flush_that_began_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for: WaitFor
) -> None:
    go_on, flushes = threading.Event(), []

    def slow(folder: Path) -> None:
        flushes.append(folder)
        go_on.wait(10)

    monkeypatch.setattr(flushing, "_flush", slow)
    flusher = FolderFlusher()
    threads = [threading.Thread(target=flusher.flush, args=(tmp_path,)) for _ in range(20)]
    threads[0].start()
    wait_for(lambda: len(flushes) == 1)
    for thread in threads[1:]:
        thread.start()
    wait_for(lambda: flusher._folders[tmp_path].waiting == 20)
    go_on.set()
    for thread in threads:
        thread.join(10)
    # One was under way when the others came: they need the next one, and share it.
    assert flushes == [tmp_path] * 2
    assert flusher._folders == {}


def test_a_flush_that_fails_is_the_error_of_one_and_repeated_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [OSError("disk"), None]

    def failing(_: Path) -> None:
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr(flushing, "_flush", failing)
    flusher = FolderFlusher()
    with pytest.raises(OSError, match="disk"):
        flusher.flush(tmp_path)
    flusher.flush(tmp_path)
    assert answers == []
