"""Every kind of store behaves the same: a folder, buckets of S3 and Google, and one whose objects are moved."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from jobs.blobs.blob import ABANDONED, KEPT
from jobs.blobs.bucket import Bucket, Purpose
from jobs.blobs.remote import PART
from jobs.errors import ResultsUnavailable
from tests.support.gcs import gcs_api
from tests.support.s3 import s3_api

#: gcsfs sends a part as it is, about which aiohttp warns.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
PURPOSE = Purpose("test store", "BOOMERANG_TEST_STORE", ".boomerang-tests", ResultsUnavailable)
DATA = bytes(range(256)) * 4096
#: More than one part of an upload.
LARGE = os.urandom(1024) * (2 * PART // 1024 + 7)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_api() as url:
        yield url


@pytest.fixture(scope="module")
def gs() -> Iterator[str]:
    with gcs_api() as url:
        yield url


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow), "gs", "moved"])
def url(request: Any, tmp_path: Path) -> str:
    if request.param == "folder":
        return f"file://{tmp_path}/results"
    if request.param == "moved":
        return f"memory://{token_hex(4)}/results"
    return f"{request.getfixturevalue(request.param)}/{token_hex(4)}"


@pytest.fixture
def bucket(url: str) -> Bucket:
    bucket = Bucket(url, PURPOSE)
    bucket.write("first", b"1")
    return bucket


def put(bucket: Bucket, name: str, data: bytes) -> None:
    with bucket.draft() as draft:
        draft.file.write(data)
        bucket.put(draft, name, "image/png")


def names(bucket: Bucket, prefix: str = "") -> list[str]:
    return sorted(blob.name for blob in bucket.list(prefix))


@pytest.mark.parametrize("data", [b"", DATA, LARGE], ids=["empty", "small", "large"])
def test_what_was_put_is_read_again(bucket: Bucket, data: bytes) -> None:
    put(bucket, "a/b/c.png", data)
    assert bucket.read("a/b/c.png") == data
    info = bucket.info("a/b/c.png")
    assert (info.name, info.size) == ("a/b/c.png", len(data))
    assert abs(info.modified.timestamp() - time.time()) < 60
    assert b"".join(bucket.stream("a/b/c.png", 0, len(data))) == data


@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 1), (5, 1000), (len(DATA) - 1, len(DATA)), (17, len(DATA))])
def test_a_range_is_read(bucket: Bucket, start: int, end: int) -> None:
    put(bucket, "c.png", DATA)
    assert b"".join(bucket.stream("c.png", start, end)) == DATA[start:end]


def test_an_object_is_replaced_at_once(bucket: Bucket) -> None:
    put(bucket, "a/x", b"old")
    with bucket.draft() as draft:
        draft.file.write(b"new and longer")
        draft.file.flush()
        assert bucket.read("a/x") == b"old"
        bucket.put(draft, "a/x")
    assert bucket.read("a/x") == b"new and longer"


def test_a_draft_that_is_not_put_leaves_nothing(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.draft() as draft:
        draft.file.write(b"half")
    assert names(bucket) == ["first"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"half"]


def test_what_does_not_exist(bucket: Bucket) -> None:
    bucket.write("folder/one", b"1")
    for name in ("none", "folder", "folder/two", "folder/one/two", "fold"):
        assert bucket.info(name) is None, name
        assert bucket.read(name) is None, name
    with pytest.raises(ResultsUnavailable):
        list(bucket.stream("none", 0, 1))
    bucket.remove(["none", "folder/two"])


def test_objects_are_listed_by_prefix(bucket: Bucket) -> None:
    for name in ("a/1", "a/2", "a/deep/er/3", "ab/4", "b/5"):
        bucket.write(name, b"x" * 3)
    assert names(bucket) == ["a/1", "a/2", "a/deep/er/3", "ab/4", "b/5", "first"]
    assert names(bucket, "a/") == ["a/1", "a/2", "a/deep/er/3"]
    assert names(bucket, "a") == ["a/1", "a/2", "a/deep/er/3", "ab/4"]
    assert names(bucket, "a/d") == ["a/deep/er/3"]
    assert names(bucket, "c/") == names(bucket, "a/1/") == []
    assert {blob.size for blob in bucket.list("a/")} == {3}


def test_a_removed_object_is_gone_and_its_folder_can_come_back(bucket: Bucket) -> None:
    for _ in range(2):
        put(bucket, "a/b/1", DATA)
        bucket.write("a/2", b"2")
        bucket.remove(["a/b/1"])
        assert names(bucket, "a/") == ["a/2"]
        bucket.remove(["a/2", "a/2"])
        assert names(bucket) == ["first"]


def test_a_store_without_its_marker_is_away_not_empty(url: str) -> None:
    used = Bucket(url, PURPOSE, lambda: True)
    for call in (
        lambda: used.read("x"),
        lambda: used.info("x"),
        lambda: list(used.list()),
        lambda: used.write("x", b""),
        lambda: put(used, "x", b""),
    ):
        with pytest.raises(ResultsUnavailable, match="BOOMERANG_TEST_STORE"):
            call()
    assert Bucket(url, PURPOSE, lambda: True)._files.list("") is not None
    Bucket(url, PURPOSE).write("y", b"")
    put(used, "x", b"1")
    assert names(used) == ["x", "y"]


def test_a_volume_that_goes_away_gets_no_objects(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    bucket = Bucket(folder.as_uri(), PURPOSE)
    put(bucket, "a/1", DATA)
    folder.rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(ResultsUnavailable):
            put(bucket, "a/2", DATA)
        with pytest.raises(ResultsUnavailable):
            bucket.write("a/2", DATA)
        assert not [path for path in folder.rglob("*") if path.is_file()]
        folder.mkdir(exist_ok=True)
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").rename(folder)
    assert names(bucket) == ["a/1"]


def test_a_bucket_signs_links_and_others_do_not(s3: str, tmp_path: Path) -> None:
    assert Bucket(f"file://{tmp_path}/r", PURPOSE).link("x", 60) is None
    assert Bucket(f"memory://{token_hex(4)}", PURPOSE).link("x", 60) is None
    bucket = Bucket(f"{s3}/signed", PURPOSE)
    put(bucket, "a/ä b.png", DATA)
    link = bucket.link("a/ä b.png", 60, content_type="image/png", filename="b.png")
    assert link
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == DATA
        assert answer.headers["Content-Type"] == "image/png"
    assert "Expires=" in link


def test_the_error_of_a_link_is_no_link(monkeypatch: pytest.MonkeyPatch, s3: str) -> None:
    bucket = Bucket(f"{s3}/unsigned", PURPOSE)

    def refuse(*_: object, **__: object) -> str:
        raise AttributeError("you need a private key to sign credentials")

    monkeypatch.setattr(type(vars(bucket._files)["_files"]), "sign", refuse)
    assert bucket.link("x", 60) is None


KILLED = """
import os, signal, sys
from jobs.blobs import remote
from tests.jobs.blobs.test_bucket import PURPOSE, Bucket, LARGE
bucket = Bucket(sys.argv[1], PURPOSE)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
with bucket.draft() as draft:
    draft.file.write(LARGE)
    if sys.argv[2] == "put":
        if bucket._is_folder:
            from pathlib import Path
            Path.replace = die
        else:
            files = bucket._files._files
            whole = files._call_s3
            async def call(method, *args, **kwargs):
                if method == "complete_multipart_upload":
                    die()
                return await whole(method, *args, **kwargs)
            files._call_s3 = call
        bucket.put(draft, "a/x.png")
    die()
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["draft", "put"])
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_killed_writer_leaves_nothing_visible(
    kind: str, point: str, request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/results" if kind == "folder" else f"{request.getfixturevalue('s3')}/{token_hex(4)}"
    bucket = Bucket(url, PURPOSE)
    bucket.write("first", b"1")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url, point], check=False, capture_output=True, text=True, cwd=Path.cwd()
    )
    assert done.returncode == -9, done.stderr
    assert names(bucket) == ["first"]
    with monkeypatch.context() as patch:
        if kind == "s3":  # moto gives each upload one and the same old time
            begun = [{**each, "Initiated": datetime.now(UTC)} for each in bucket._files._uploads()]  # type: ignore[attr-defined] # it is of S3
            patch.setattr(bucket._files, "_uploads", lambda: begun)
        assert bucket.sweep() == 0, "it might still be written"
    left = bucket.sweep(-60)
    assert left == (0 if (kind, point) == ("s3", "draft") else 1)
    assert bucket.sweep(-60) == 0
    put(bucket, "a/x.png", DATA)
    assert bucket.read("a/x.png") == DATA


def test_drafts_of_killed_writers_are_swept_by_age(tmp_path: Path) -> None:
    bucket = Bucket(f"file://{tmp_path}", PURPOSE)
    with bucket.draft() as draft:
        assert draft.path
        os.utime(draft.path, (time.time() - ABANDONED - 5,) * 2)
        assert bucket.sweep() == 1
    assert bucket.sweep() == 0


def test_what_was_kept_is_removed_in_the_end(bucket: Bucket) -> None:
    put(bucket, f"{KEPT}/a", b"1")
    assert bucket.read(f"{KEPT}/a") == b"1"
    assert names(bucket) == ["first"]
    assert bucket.sweep(-60) == 0
    assert bucket.sweep(kept_for=-60) == 1
    assert bucket.info(f"{KEPT}/a") is None
