"""Where the bytes of images can be: each store keeps the same promises."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.errors import ImagesUnavailable, StoreUnavailable
from jobs.images.backends import RedisImages, open_images
from jobs.images.fsspec_backend import Bucket
from jobs.images.images import ImageStore
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from tests.support.bench import Bench

PICTURE = bytes(range(256)) * 4096


@pytest.fixture
def binary(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, text=False)
    yield client
    client.close()


@pytest.fixture(params=["redis", "folder", "bucket"])
def kept_in(request: Any, binary: redis.Redis, tmp_path: Path) -> ImageStore:
    """Each store; `memory://` stands for a bucket."""
    if request.param == "redis":
        return RedisImages(binary, Keys())
    return Bucket(f"file://{tmp_path}/images/new" if request.param == "folder" else f"memory://{tmp_path.name}/images")


def test_what_was_written_is_read_until_it_is_removed(kept_in: ImageStore) -> None:
    kept_in.write("a-1", PICTURE)
    kept_in.write("b-1", b"another")
    assert kept_in.read("a-1") == PICTURE
    kept_in.remove(["a-1", "c-1"])
    assert (kept_in.read("a-1"), kept_in.read("b-1")) == (None, b"another")


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    Bucket(f"file://{tmp_path}/images").write("a-1", PICTURE)
    assert Bucket(f"file://{tmp_path}/images").read("a-1") == PICTURE


def test_a_volume_that_is_not_mounted_has_lost_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    bucket = Bucket(folder.as_uri())
    bucket.write("a-1", PICTURE)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ImagesUnavailable, match="BOOMERANG_IMAGE_STORE"):
        bucket.read("a-1")
    folder.mkdir()
    with pytest.raises(ImagesUnavailable):
        bucket.read("a-1")
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").rename(folder)
    assert bucket.read("a-1") == PICTURE


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.write("a", b"x"),
        lambda store: store.read("a"),
        lambda store: store.remove(["a"]),
    ],
)
def test_a_store_that_fails_says_so(call: Callable[[Any], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImagesUnavailable):
        call(Bucket(f"file://{tmp_path}/file/images"))
    away = connect(f"unix://{tmp_path}/no.sock", text=False)
    with pytest.raises(StoreUnavailable):
        call(RedisImages(away, Keys()))


def test_the_setting_decides(store: Store, redis_url: str, tmp_path: Path, bench: Bench) -> None:
    picture = bench.picture(os.urandom(1000))
    for where, objects in (("redis", 1), (f"file://{tmp_path}/images", 0)):
        images = open_images(store, Settings(redis_url=redis_url, image_store=where))
        assert images.put(picture)
        (image,) = images.find([picture.hash])
        assert image
        assert images.read(image) == picture.data
        assert len(bench.raw.keys("{b}:o:*")) == objects
        bench.raw.flushall()
    assert [path.name for path in (tmp_path / "images").iterdir() if image.hash in path.name] == [image.object]


def test_a_store_that_cannot_be_opened_is_named(store: Store) -> None:
    with pytest.raises(ImagesUnavailable, match="BOOMERANG_IMAGE_STORE cannot be opened"):
        open_images(store, Settings(image_store="nowhere://x"))


def test_the_audit_looks_for_the_bytes_that_are_in_redis(
    store: Store, redis_url: str, bench: Bench, binary: redis.Redis
) -> None:
    settings = Settings(redis_url=redis_url)
    assert open_images(store, settings).put(bench.picture(PICTURE))
    assert audit(store) == []
    binary.delete(*binary.keys("{b}:o:*"))
    assert [(finding.rule, finding.id) for finding in audit(store)] == [("image", bench.picture(PICTURE).hash)]
