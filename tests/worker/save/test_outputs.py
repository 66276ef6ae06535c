"""Saving all outputs of a job, or none."""

import errno
import io
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from jobs.blobs import folder
from jobs.blobs.blob import KEPT
from jobs.blobs.bucket import Bucket
from jobs.blobs.full_disk import is_full
from jobs.errors import ResultsUnavailable
from jobs.job import Job
from jobs.result import Result
from jobs.results.names import DEFAULT, Template
from jobs.results.results import open_results
from jobs.saved import SaveProgress
from jobs.states import State
from tests.support.media_files import image
from tests.support.raw_server import Answer, RawServer, respond
from worker.errors import SaveFailed
from worker.http.download import Downloader
from worker.http.transfer import Bounds
from worker.save.outputs import VISIBLE_AFTER, OutputSaver

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
ONE, TWO = image("png", 40, 30, 1), image("jpeg", 20, 10, 2)
BOUNDS = Bounds(1_000_000, 1000)


class Provider:
    """Serves files by path; others are gone."""

    def __init__(self) -> None:
        self.files: dict[str, Answer] = {"/1": respond(200, ONE), "/2": respond(200, TWO)}
        self.server = RawServer(self.answer)

    def answer(self, connection: Any) -> bool | None:
        return self.files.get(self.server.requests[-1][1].partition("?")[0], respond(404, b""))(connection)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.server.requests]


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.server.close()


@pytest.fixture
def results(tmp_path: Path) -> Bucket:
    return open_results(f"file://{tmp_path}/results")


@pytest.fixture
def saver(results: Bucket) -> OutputSaver:
    return saver_of(results)


def saver_of(results: Bucket) -> OutputSaver:
    return OutputSaver(results, Downloader(BOUNDS, private_hosts=True), Template.parse(DEFAULT), now=lambda: NOW)


def job(provider: Provider, *paths: str, **changes: Any) -> Job:
    ended = NOW - timedelta(seconds=VISIBLE_AFTER + 1)
    output = tuple({"type": "image", "url": f"{provider.server.url}{path}?sig=canary"} for path in paths)
    plain: dict[str, Any] = {
        "id": "fox@shop", "state": State.COMPLETED, "model": "kirin", "n": len(paths), "attempt": 2, "fence": 1,
        "created_at": ended, "updated_at": ended, "ended_at": ended, "batch": "zoo@shop", "owner": "shop",
        "labels": {"sku": "7"}, "text": '{"prompt":"a fox","callback_url":"https://x.example/?token=canary"}',
        "result": Result(output=output, cost=Decimal("0.0065")), "task_id": "t-1",
    }  # fmt: skip
    return Job(**plain | changes)


def names(results: Bucket) -> list[str]:
    return sorted(blob.name for blob in results.list())


def refused(saver: OutputSaver, given: Job) -> SaveFailed:
    with pytest.raises(SaveFailed) as caught:
        saver.save_outputs(given, {})
    assert "canary" not in caught.value.why
    return caught.value


def test_all_outputs_and_a_sidecar_are_stored(provider: Provider, results: Bucket, saver: OutputSaver) -> None:
    saved = saver.save_outputs(job(provider, "/1", "/2"), {"season": "spring", "sku": "of the batch"})
    assert [(each.name, each.size, each.content_type, each.width, each.height) for each in saved.outputs] == [
        ("zoo@shop/fox@shop-0.png", len(ONE), "image/png", 40, 30),
        ("zoo@shop/fox@shop-1.jpg", len(TWO), "image/jpeg", 20, 10),
    ]
    assert saved.at == NOW
    for each, data in zip(saved.outputs, (ONE, TWO), strict=True):
        assert results.read(each.name) == data
        assert each.sha256 == sha256(data).hexdigest()
    sidecar = json.loads(results.read("zoo@shop/fox@shop.json") or b"")
    outputs = sidecar.pop("outputs")
    assert [(each["name"], each["sha256"]) for each in outputs] == [(each.name, each.sha256) for each in saved.outputs]
    assert outputs[0]["source_url"] == f"{provider.server.url}/1?sig=canary"
    assert sidecar == {
        "id": "fox",
        "job": "fox@shop",
        "owner": "shop",
        "batch": "zoo@shop",
        "model": "kirin",
        "labels": {"season": "spring", "sku": "7"},
        "request": {"prompt": "a fox"},
        "attempt": 2,
        "revision": 1,
        "external_task_id": "fox",
        "provider_external_id": "fox@shop~2",
        "task_id": "t-1",
        "cost": "0.0065",
        "usage": {"cost": "0.0065"},
        "created_at": (NOW - timedelta(seconds=VISIBLE_AFTER + 1)).isoformat(),
        "ended_at": (NOW - timedelta(seconds=VISIBLE_AFTER + 1)).isoformat(),
        "saved_at": NOW.isoformat(),
    }


def test_a_repeat_downloads_nothing(provider: Provider, results: Bucket, saver: OutputSaver) -> None:
    given = job(provider, "/1", "/2")
    saved = saver.save_outputs(given, {})
    provider.files.clear()
    assert saver.save_outputs(given, {}) == saved
    assert len(provider.paths) == 2
    # ... unless an object is missing, or is not what it should be.
    for damage in (lambda: results.remove([saved.outputs[0].name]), lambda: results.write(saved.outputs[0].name, b"x")):
        damage()
        assert refused(saver, given).final
        provider.files["/1"], provider.files["/2"] = respond(200, ONE), respond(200, TWO)
        again = saver.save_outputs(given, {})
        assert [results.read(each.name) for each in again.outputs] == [ONE, TWO]
        provider.files.clear()


def test_a_job_without_outputs_has_nothing_to_fetch(provider: Provider, results: Bucket, saver: OutputSaver) -> None:
    assert saver.save_outputs(job(provider), {}).outputs == ()
    assert names(results) == ["zoo@shop/fox@shop.json"]


BAD: dict[str, Answer] = {
    "gone": respond(410, b""),
    "error": respond(500, b""),
    "page": respond(200, b"<html>expired</html>", "Content-Type: image/png"),
    "empty": respond(200, b"", "Content-Type: image/png"),
    "half": respond(200, ONE[: len(ONE) // 2]),
    "large": respond(200, ONE + bytes(2_000_000)),
    "elsewhere": respond(302, b"", "Location: http://127.0.0.1:1/x?sig=canary"),
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD)
def test_of_several_outputs_all_are_saved_or_none(
    answer: Answer, provider: Provider, results: Bucket, saver: OutputSaver
) -> None:
    results.write("other", b"")
    provider.files["/2"] = answer
    refused(saver, job(provider, "/1", "/2"))
    assert names(results) == ["other"]
    provider.files["/2"] = respond(200, TWO)
    saver.save_outputs(job(provider, "/1", "/2"), {})
    assert len(names(results)) == 4


def test_only_what_is_gone_for_good_is_final(provider: Provider, saver: OutputSaver) -> None:
    assert refused(saver, job(provider, "/none")).final
    assert not refused(saver, job(provider, "/none", ended_at=NOW - timedelta(seconds=5))).final
    provider.files["/busy"] = respond(503, b"", "Retry-After: 70")
    failed = refused(saver, job(provider, "/busy"))
    assert (failed.final, failed.retry_after) == (False, 70)
    assert not failed.wrong_file
    for name in ("page", "empty", "half"):
        provider.files["/wrong"] = BAD[name]
        failed = refused(saver, job(provider, "/wrong"))
        assert (failed.final, failed.wrong_file) == (False, True)


def test_one_answer_that_an_output_is_gone_is_not_final(provider: Provider, saver: OutputSaver) -> None:
    progress = SaveProgress(since=NOW - timedelta(hours=3), tries=0, error=None)
    first = refused(saver, job(provider, "/none", save=progress))
    assert (first.final, first.retry_after) == (False, VISIBLE_AFTER)
    assert not refused(saver, job(provider, "/none", save=replace(progress, tries=1, error="it answered 500"))).final
    assert refused(saver, job(provider, "/none", save=replace(progress, tries=1, error=first.why))).final


def test_a_late_result_of_a_cancelled_job_may_still_appear(provider: Provider, saver: OutputSaver) -> None:
    why = refused(saver, job(provider, "/none")).why
    came = SaveProgress(since=NOW - timedelta(seconds=1), tries=1, error=why)
    given = job(provider, "/none", state=State.CANCELLED, ended_at=NOW - timedelta(hours=3), save=came)
    assert not refused(saver, given).final


def test_hosts_of_the_own_network_need_the_setting(provider: Provider, results: Bucket) -> None:
    saver = OutputSaver(results, Downloader(BOUNDS), Template.parse(DEFAULT))
    assert "BOOMERANG_ALLOW_PRIVATE_HOSTS" in refused(saver, job(provider, "/1")).why
    assert provider.paths == []


def test_a_store_that_is_away_is_no_final_failure(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    saver = OutputSaver(
        open_results(f"file://{tmp_path}/file/x"), Downloader(BOUNDS, private_hosts=True), Template.parse(DEFAULT)
    )
    failed = refused(saver, job(provider, "/1"))
    assert not failed.final
    assert "BOOMERANG_RESULT_STORE" in failed.why


def test_an_earlier_jobs_files_are_never_replaced(provider: Provider, results: Bucket, saver: OutputSaver) -> None:
    """An id can be used again after BOOMERANG_RETENTION."""
    first = saver.save_outputs(job(provider, "/1"), {})
    provider.files["/1"] = respond(200, image("png", 40, 30, 99))
    later = saver.save_outputs(job(provider, "/1", created_at=NOW), {})
    assert results.read(first.outputs[0].name) == ONE
    assert results.read(later.outputs[0].name) == image("png", 40, 30, 99)
    sidecars = [json.loads(results.read(name) or b"") for name in names(results) if name.endswith(".json")]
    assert {each["outputs"][0]["name"] for each in sidecars} == {first.outputs[0].name, later.outputs[0].name}
    assert saver.save_outputs(job(provider, "/1", created_at=NOW), {}) == later


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"job": "fox@shop"}', b'{"job": 1}'])
def test_a_damaged_sidecar_does_not_keep_a_job_from_being_saved(
    damage: bytes, provider: Provider, results: Bucket, saver: OutputSaver
) -> None:
    given = job(provider, "/1")
    saver.save_outputs(given, {})
    results.write("zoo@shop/fox@shop.json", damage)
    saved = saver.save_outputs(given, {})
    assert results.read(saved.outputs[0].name) == ONE
    assert saver.save_outputs(given, {}) == saved


def test_by_content_two_jobs_share_an_object(provider: Provider, results: Bucket) -> None:
    saver = OutputSaver(results, Downloader(BOUNDS, private_hosts=True), Template.parse("all/{sha256}.{ext}"))
    one = saver.save_outputs(job(provider, "/1", "/1"), {})
    other = saver.save_outputs(job(provider, "/1", id="owl@shop"), {})
    assert {each.name for each in (*one.outputs, *other.outputs)} == {f"all/{sha256(ONE).hexdigest()}.png"}
    assert replace(one, outputs=()) == replace(other, outputs=(), at=one.at)


FAILED_ONCE = SaveProgress(since=NOW - timedelta(hours=3), tries=1, error="it answered 503")
BUSY = respond(503, b"")


@pytest.fixture(params=["folder", "moved"])
def store_url(request: Any, tmp_path: Path) -> str:
    return f"file://{tmp_path}/results" if request.param == "folder" else f"memory://{token_hex(4)}/results"


def kept(results: Bucket, tmp_path: Path) -> int:
    """Return how many outputs are kept, and remove them."""
    folder = tmp_path / "results" / ".boomerang-kept"
    assert not folder.exists() or all(path.is_file() for path in folder.iterdir())
    return results.sweep(kept_for=-60)


def test_what_a_failed_try_fetched_is_not_fetched_again(provider: Provider, store_url: str, tmp_path: Path) -> None:
    provider.files["/2"] = BUSY
    for progress in (None, FAILED_ONCE):
        assert not refused(saver_of(open_results(store_url)), job(provider, "/1", "/2", save=progress)).final
    assert names(open_results(store_url)) == []
    provider.files["/2"] = respond(200, TWO)

    saved = saver_of(results := open_results(store_url)).save_outputs(job(provider, "/1", "/2", save=FAILED_ONCE), {})

    assert provider.paths.count("/1?sig=canary") == 1
    assert [results.read(each.name) for each in saved.outputs] == [ONE, TWO]
    assert [(each.content_type, each.width, each.sha256) for each in saved.outputs] == [
        ("image/png", 40, sha256(ONE).hexdigest()),
        ("image/jpeg", 20, sha256(TWO).hexdigest()),
    ]
    assert kept(results, tmp_path) == 0


def test_what_was_fetched_is_kept_while_the_store_takes_no_results(
    provider: Provider, results: Bucket, saver: OutputSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Bucket.put

    def failing(self: Bucket, draft: Any, name: str, *more: str) -> None:
        if not name.startswith(KEPT):
            raise ResultsUnavailable("away")
        put(self, draft, name, *more)

    monkeypatch.setattr(Bucket, "put", failing)
    assert refused(saver, job(provider, "/1", "/2")).why == "away"
    monkeypatch.undo()

    saved = saver.save_outputs(job(provider, "/1", "/2", save=FAILED_ONCE), {})

    assert len(provider.paths) == 2
    assert [results.read(each.name) for each in saved.outputs] == [ONE, TWO]


@pytest.mark.parametrize("change", ["damaged", "another address", "a later job"])
def test_an_output_that_is_not_the_one_that_was_kept_is_fetched(
    change: str, provider: Provider, results: Bucket, saver: OutputSaver, tmp_path: Path
) -> None:
    provider.files |= {"/2": BUSY, "/3": respond(200, TWO)}
    refused(saver, job(provider, "/1", "/2"))
    provider.files |= {"/1": respond(200, TWO), "/2": respond(200, ONE)}
    (path,) = (tmp_path / "results" / KEPT).iterdir()
    given = job(provider, "/1", "/2", save=FAILED_ONCE)
    if change == "damaged":
        path.write_bytes(ONE[:-20])
    elif change == "another address":
        given = job(provider, "/3", "/2", save=FAILED_ONCE)
    else:
        given = replace(given, created_at=NOW)

    saved = saver.save_outputs(given, {})

    assert [results.read(each.name) for each in saved.outputs] == [TWO, ONE]


def test_a_result_that_is_gone_keeps_nothing(provider: Provider, results: Bucket, tmp_path: Path) -> None:
    saver = saver_of(results)
    provider.files["/2"] = BUSY
    refused(saver, job(provider, "/1", "/2"))
    del provider.files["/2"]
    first = refused(saver, job(provider, "/1", "/2", save=FAILED_ONCE))
    again = refused(saver, job(provider, "/1", "/2", save=replace(FAILED_ONCE, error=first.why)))
    assert (first.final, again.final) == (False, True)
    assert kept(results, tmp_path) == 0


@pytest.mark.parametrize("size", [100, 3_000_000], ids=["at the flush", "at a write"])
@pytest.mark.parametrize("full_from", [1, 2, 3])
def test_a_full_disk_is_named_and_nothing_is_lost(
    size: int, full_from: int, provider: Provider, results: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drafts: one for each output, and one for the sidecar."""
    one = image("png", 40, 30, 1) if size == 100 else large_png(size)
    provider.files["/1"] = respond(200, one)
    saver = OutputSaver(
        results, Downloader(Bounds(2 * size + 1_000_000, 1000), private_hosts=True), Template.parse(DEFAULT)
    )
    results.mark()
    opened, create = [0], folder._create

    def full(path: Path) -> Any:
        opened[0] += 1
        if opened[0] < full_from:
            return create(path)
        path.parent.mkdir(exist_ok=True)
        return io.BufferedRandom(FullDisk(path, "x+b"))

    monkeypatch.setattr(folder, "_create", full)
    failed = refused(saver, job(provider, "/1", "/2"))
    assert "No space left on device" in failed.why
    assert is_full(failed)
    assert not failed.final
    monkeypatch.undo()

    saved = saver.save_outputs(job(provider, "/1", "/2", save=FAILED_ONCE), {})

    assert [results.read(each.name) for each in saved.outputs] == [one, TWO]
    assert len([name for name in names(results) if name != ".boomerang-results"]) == 3


class FullDisk(io.FileIO):
    def write(self, _: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def large_png(size: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0))
    return head + chunk(b"IDAT", bytes(size)) + chunk(b"IEND", b"")


KILLED = """
import os, signal, sys
from pathlib import Path
from jobs.blobs.bucket import Bucket
from tests.worker.save import test_outputs as t
calls = [0]
def dying(method):
    whole = getattr(Bucket, method)
    def call(*args, **kwargs):
        calls[0] += 1
        if calls[0] == int(sys.argv[3]) and sys.argv[4] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*args, **kwargs)
        if calls[0] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(Bucket, method, call)
for method in ("put", "write", "draft"):
    dying(method)
class Elsewhere:
    class server:
        url = sys.argv[2]
t.saver_of(t.open_results(sys.argv[1])).save_outputs(t.job(Elsewhere, "/1", "/2"), {})
"""


@pytest.mark.stack
@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_kill_at_any_point_leaves_nothing_half(
    step: int, when: str, provider: Provider, results: Bucket, tmp_path: Path
) -> None:
    """Steps: a draft for each output, each output, the sidecar."""
    saver = saver_of(results)
    results.write("first", b"")
    arguments = [f"file://{tmp_path}/results", provider.server.url, str(step), when]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True, text=True, cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    there = names(results)
    assert len(there) == max(0, step - 3 + (when == "after" and step > 2)) + 1
    contents = {"zoo@shop/fox@shop-0.png": ONE, "zoo@shop/fox@shop-1.jpg": TWO, "first": b""}
    for name in there:
        if name in contents:
            assert results.read(name) == contents[name]
        else:
            assert json.loads(results.read(name) or b"")["job"] == "fox@shop"
    saved = saver.save_outputs(job(provider, "/1", "/2"), {})
    assert [results.read(each.name) for each in saved.outputs] == [ONE, TWO]
    assert names(results) == ["first", "zoo@shop/fox@shop-0.png", "zoo@shop/fox@shop-1.jpg", "zoo@shop/fox@shop.json"]
    results.sweep(-60)
    assert not list((tmp_path / "results" / ".boomerang-drafts").iterdir())
