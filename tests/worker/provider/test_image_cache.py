"""The cache of images that are being sent: one copy for all jobs, within its memory limit."""

import threading
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.errors import ImageNotFound, ImagesUnavailable
from jobs.images.images import Image
from tests.support.waiting import WaitFor
from worker.provider.image_cache import ImageCache, ImageCacheFull

#: Base64 makes 4 bytes of 3.
SIZE = 3000
ENCODED = 4000


class Source:
    """A source of images with the methods of `jobs.images.images.Images`. It counts reads, and can block or fail."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def find(self, digests: list[str]) -> list[Image | None]:
        return [None if each == "absent" else Image(each, f"{each}-1", SIZE, 300, 300, "png") for each in digests]

    def read(self, image: Image) -> bytes:
        self.reads.append(image.hash)
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        return image.hash.encode().ljust(SIZE, b".")


@pytest.fixture
def source() -> Source:
    return Source()


def cache_of(source: Source, size: int = 10 * ENCODED) -> ImageCache:
    return ImageCache(source, size)  # type: ignore[arg-type]


def test_an_image_is_read_once_and_shared(source: Source) -> None:
    shared = cache_of(source)
    with shared.borrow({"a", "b"}, 1) as first, shared.borrow({"a"}, 1) as second:
        assert first["a"] is second["a"]
        assert b64decode(first["b"]) == b"b".ljust(SIZE, b".")
    with shared.borrow({"a"}, 1) as third:
        assert third["a"] is first["a"]
    assert sorted(source.reads) == ["a", "b"]


def test_concurrent_borrowers_wait_for_one_read(source: Source, wait_for: WaitFor) -> None:
    shared, got = cache_of(source), []
    source.gate.clear()

    def send() -> None:
        with shared.borrow({"a"}, 10) as images:
            got.append(images["a"])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(each.holders for each in shared._entries.values()) == 8)
    source.gate.set()
    for thread in threads:
        thread.join(10)
    assert (len(got), len(set(map(id, got))), source.reads) == (8, 1, ["a"])


def test_the_least_recently_used_image_is_evicted(source: Source) -> None:
    shared = cache_of(source, 2 * ENCODED)
    for name in "aba":
        with shared.borrow({name}, 1):
            pass
    with shared.borrow({"c"}, 1):
        assert shared.size == 2 * ENCODED
    with shared.borrow({"a"}, 1):
        pass
    assert source.reads == ["a", "b", "c"]


def test_a_borrower_waits_for_space_up_to_its_time_out(source: Source) -> None:
    shared = cache_of(source, 2 * ENCODED)

    def send() -> list[str]:
        with shared.borrow({"c"}, 10) as images:
            return list(images)

    with ThreadPoolExecutor(1) as threads:
        with shared.borrow({"a", "b"}, 1):
            with pytest.raises(ImageCacheFull), shared.borrow({"c"}, 0):
                pass
            with shared.borrow({"a"}, 0):
                pass  # a cached image needs no more space
            waiting = threads.submit(send)
        assert waiting.result(10) == ["c"]
    assert shared.size <= 2 * ENCODED


def test_a_job_larger_than_the_cache_runs_alone(source: Source) -> None:
    shared = cache_of(source, ENCODED)
    with shared.borrow({"a", "b", "c"}, 0) as images:
        assert len(images) == 3
        with pytest.raises(ImageCacheFull), shared.borrow({"d"}, 0):
            pass
    assert shared.size <= ENCODED


@pytest.mark.parametrize("error", [ImagesUnavailable("away"), ImageNotFound("a")])
def test_a_failed_read_raises_and_is_not_cached(source: Source, error: Exception) -> None:
    shared = cache_of(source)
    source.error = error
    with pytest.raises(type(error)), shared.borrow({"a", "b"}, 1):
        pass
    source.error = None
    with shared.borrow({"a", "b"}, 1) as images:
        assert len(images) == 2


def test_an_unknown_image_is_not_read(source: Source) -> None:
    shared = cache_of(source)
    with pytest.raises(ImageNotFound), shared.borrow({"a", "absent"}, 1):
        pass
    assert (source.reads, shared.size) == ([], 0)
