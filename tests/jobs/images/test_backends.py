"""Every image store behaves the same."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobs.audit.audit import audit
from jobs.blobs.bucket import Bucket
from jobs.connections.client import connect
from jobs.errors import ImagesUnavailable, StoreUnavailable
from jobs.images.backends import IMAGES, RedisImages, open_images
from jobs.images.images import ImageStore
from jobs.settings import Settings
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from tests.support.bench import Bench

DATA = bytes(range(256)) * 4096


@pytest.fixture
def binary(redis_url: str) -> Iterator[redis.Redis]:
    client = connect(redis_url, text=False)
    yield client
    client.close()


@pytest.fixture(params=["redis", "folder", "bucket"])
def image_store(request: Any, binary: redis.Redis, tmp_path: Path) -> ImageStore:
    """One of the stores. `memory://` stands for a bucket."""
    if request.param == "redis":
        return RedisImages(binary, Keys())
    return Bucket(
        f"file://{tmp_path}/images/new" if request.param == "folder" else f"memory://{tmp_path.name}/images", IMAGES
    )


def test_an_image_is_read_until_it_is_removed(image_store: ImageStore) -> None:
    image_store.write("a-1", DATA)
    image_store.write("b-1", b"another")
    assert image_store.read("a-1") == DATA
    image_store.remove(["a-1", "c-1"])
    assert (image_store.read("a-1"), image_store.read("b-1")) == (None, b"another")


def test_another_process_reads_the_same_bytes(tmp_path: Path) -> None:
    Bucket(f"file://{tmp_path}/images", IMAGES).write("a-1", DATA)
    assert Bucket(f"file://{tmp_path}/images", IMAGES).read("a-1") == DATA


def test_a_volume_that_is_not_mounted_is_unavailable_not_empty(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    bucket = Bucket(folder.as_uri(), IMAGES)
    bucket.write("a-1", DATA)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ImagesUnavailable, match="BOOMERANG_IMAGE_STORE"):
        bucket.read("a-1")
    folder.mkdir()
    with pytest.raises(ImagesUnavailable):
        bucket.read("a-1")
    shutil.rmtree(folder)
    (tmp_path / "elsewhere").rename(folder)
    assert bucket.read("a-1") == DATA


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.write("a", b"x"),
        lambda store: store.read("a"),
        lambda store: store.remove(["a"]),
    ],
)
def test_a_failing_store_raises_unavailable(call: Callable[[Any], object], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImagesUnavailable):
        call(Bucket(f"file://{tmp_path}/file/images", IMAGES))
    away = connect(f"unix://{tmp_path}/no.sock", text=False)
    with pytest.raises(StoreUnavailable):
        call(RedisImages(away, Keys()))


def test_the_setting_selects_the_image_store(store: Store, redis_url: str, tmp_path: Path, bench: Bench) -> None:
    image_file = bench.placeholder_image(os.urandom(1000))
    for where, objects in (("redis", 1), (f"file://{tmp_path}/images", 0)):
        images = open_images(store, Settings(redis_url=redis_url, image_store=where))
        assert images.put(image_file)
        (image,) = images.find([image_file.hash])
        assert image
        assert images.read(image) == image_file.data
        assert len(bench.raw.keys("{b}:o:*")) == objects
        bench.raw.flushall()
    assert [path.name for path in (tmp_path / "images").iterdir() if image.hash in path.name] == [image.object]


def test_an_image_store_that_cannot_be_opened_is_an_error(store: Store) -> None:
    with pytest.raises(ImagesUnavailable, match="BOOMERANG_IMAGE_STORE cannot be opened"):
        open_images(store, Settings(image_store="nowhere://x"))


def test_the_audit_finds_missing_bytes_in_redis(
    store: Store, redis_url: str, bench: Bench, binary: redis.Redis
) -> None:
    settings = Settings(redis_url=redis_url)
    assert open_images(store, settings).put(bench.placeholder_image(DATA))
    assert audit(store) == []
    binary.delete(*binary.keys("{b}:o:*"))
    assert [(finding.rule, finding.id) for finding in audit(store)] == [("image", bench.placeholder_image(DATA).hash)]
