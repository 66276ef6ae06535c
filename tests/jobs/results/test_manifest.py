"""Manifests: one line for each saved job, and none lost, whoever writes when."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.blobs.blob import Blob
from jobs.blobs.bucket import Bucket
from jobs.results.manifest import write_manifest
from jobs.results.names import manifest_name
from jobs.results.results import open_results
from jobs.store.manifests import DELAY, LEASE
from tests.support.bench import Bench
from tests.support.saved_jobs import a_job, saved_in

ZOO = "zoo@shop"


@pytest.fixture
def results(tmp_path: Path) -> Bucket:
    return open_results(f"file://{tmp_path}/results")


def lines(results: Bucket) -> list[dict[str, Any]]:
    data = results.read(manifest_name(ZOO)) or b""
    return sorted((json.loads(line) for line in data.splitlines()), key=lambda line: str(line["job"]))


def test_a_manifest_has_a_line_for_each_saved_job(results: Bucket) -> None:
    saved_in(results, a_job("fox@shop"), b"1", b"2", season="spring")
    saved_in(results, a_job("owl@shop"), b"3")
    saved_in(results, a_job("elsewhere@shop", "zoo2@shop"), b"4")
    assert write_manifest(results, ZOO) == 2
    first, second = lines(results)
    assert (first["job"], second["job"]) == ("fox@shop", "owl@shop")
    assert first["labels"] == {"season": "spring"}
    assert first["request"] == {"prompt": "a fox"}
    assert first["cost"] == "0.01"
    assert [output["name"] for output in first["outputs"]] == ["zoo@shop/fox@shop-0.png", "zoo@shop/fox@shop-1.png"]
    assert all(output["sha256"] and output["source_url"] and output["size"] for output in first["outputs"])


def test_it_grows_with_the_batch_and_is_the_same_when_written_again(results: Bucket) -> None:
    for count in range(1, 4):
        saved_in(results, a_job(f"fox-{count}@shop"), b"1")
        for _ in range(2):
            assert write_manifest(results, ZOO) == count
            assert len(lines(results)) == count


def test_damaged_sidecars_do_not_keep_it_from_being_written(results: Bucket) -> None:
    saved_in(results, a_job("fox@shop"), b"1")
    results.write(f"{ZOO}/other.json", b"{")
    assert write_manifest(results, ZOO) == 1


def test_a_batch_without_saved_results_has_an_empty_manifest(results: Bucket) -> None:
    assert write_manifest(results, ZOO) == 0
    assert lines(results) == []


def test_a_writer_that_was_overtaken_writes_again(results: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first writer composes its list, a result comes and a second writer writes the manifest with it."""
    saved_in(results, a_job("fox@shop"), b"1")
    listed = Bucket.list
    calls = [0]

    def overtaken(self: Bucket, prefix: str = "") -> Iterator[Blob]:
        calls[0] += 1
        found = list(listed(self, prefix))
        if calls[0] == 1:
            saved_in(self, a_job("owl@shop"), b"2")
            assert write_manifest(self, ZOO) == 2
        yield from found

    monkeypatch.setattr(Bucket, "list", overtaken)
    assert write_manifest(results, ZOO) == 2
    assert [line["job"] for line in lines(results)] == ["fox@shop", "owl@shop"]


def test_a_batch_that_never_rests_is_left_for_later(results: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Bucket.list
    calls = [0]

    def growing(self: Bucket, prefix: str = "") -> Iterator[Blob]:
        yield from list(listed(self, prefix))
        calls[0] += 1
        saved_in(self, a_job(f"fox-{calls[0]}@shop"), b"1")

    monkeypatch.setattr(Bucket, "list", growing)
    results.mark()
    assert write_manifest(results, ZOO) is None


def test_writers_and_savers_at_once_lose_no_line(results: Bucket) -> None:
    def save(part: int) -> None:
        for number in range(15):
            saved_in(results, a_job(f"fox-{part}-{number}@shop"), b"1")
            if number % 5 == 4:
                write_manifest(results, ZOO)

    threads = [threading.Thread(target=save, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The last writer saw all, or was left for later; then the note of the last save brings another write.
    write_manifest(results, ZOO)
    assert len(lines(results)) == 60


# --- when they are written --------------------------------------------------------------------------------------------


@pytest.fixture
def clock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that moves the time of the alarms forward."""
    now = [1_000_000_000]
    monkeypatch.setattr(bench.store.manifests, "_now", lambda: now[0])

    def forward(seconds: float) -> None:
        now[0] += int(seconds * 1_000_000)

    return forward


def test_saves_share_one_write(bench: Bench, clock: Callable[[float], None]) -> None:
    manifests = bench.store.manifests
    assert manifests.claim() is None
    for _ in range(3):
        manifests.note("zoo")
        assert manifests.claim() is None
        clock(DELAY / 4)
    clock(DELAY)
    claimed = manifests.claim()
    assert claimed
    batch, claim = claimed
    assert batch == "zoo"
    assert manifests.claim() is None
    manifests.finish(batch, claim, 5.0)
    clock(2 * LEASE)
    assert manifests.claim() is None


def test_a_note_during_the_write_is_not_lost(bench: Bench, clock: Callable[[float], None]) -> None:
    manifests = bench.store.manifests
    manifests.note("zoo")
    clock(DELAY + 1)
    claimed = manifests.claim()
    assert claimed
    batch, claim = claimed
    manifests.note("zoo")
    manifests.finish(batch, claim, 500.0)
    clock(DELAY + 1)
    assert manifests.claim() is None, "it rests"
    clock(500)
    assert manifests.claim()[0] == "zoo"


def test_the_rest_lasts_whatever_is_saved_meanwhile(bench: Bench, clock: Callable[[float], None]) -> None:
    manifests = bench.store.manifests
    for noted_during_the_write in (True, False):
        manifests.note("zoo")
        clock(DELAY + 1)
        claimed = manifests.claim()
        assert claimed
        if noted_during_the_write:
            manifests.note("zoo")
        manifests.finish(*claimed, 12_000.0)
        for _ in range(10):
            clock(1000)
            manifests.note("zoo")
            assert manifests.claim() is None, "it rests"
        clock(2001)
        claimed = manifests.claim()
        assert claimed
        manifests.finish(*claimed, 0.0)
        clock(1)
    manifests.note("ark")
    clock(DELAY + 1)
    assert manifests.claim()[0] == "ark", "each batch has its own rest"


def test_what_a_killed_writer_held_is_due_again(bench: Bench, clock: Callable[[float], None]) -> None:
    manifests = bench.store.manifests
    manifests.note("zoo")
    clock(DELAY + 1)
    assert manifests.claim()
    clock(LEASE + 1)
    assert manifests.claim()[0] == "zoo"
