"""A cache of encoded images, shared by all submissions of a process.

Ten thousand jobs with the same images need one copy of each. Jobs with different images wait for each other when they
would need more memory than the cache has.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Condition

from jobs.errors import ImageNotFound
from jobs.images.images import Image, Images

#: Most images fetched and encoded at the same time. Each briefly takes twice its size in addition to the cache.
FETCHES = 4


class ImageCacheFull(Exception):
    """Images of other submissions have filled the cache for too long."""


@dataclass(slots=True)
class _Entry:
    """A cached image. `size`: bytes of base64; `holders`: number of submissions that use it now."""

    size: int
    holders: int = 0
    data: "Future[bytes]" = field(default_factory=Future)


class ImageCache:
    """Images as base64, at most `capacity` bytes together. A single job may exceed that when it is alone."""

    def __init__(self, images: Images, capacity: int) -> None:
        self._images = images
        self._capacity = capacity
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._changed = Condition()
        self._fetches = BoundedSemaphore(FETCHES)

    @property
    def size(self) -> int:
        """Bytes in the cache."""
        with self._changed:
            return sum(each.size for each in self._entries.values())

    @contextmanager
    def borrow(self, digests: Collection[str], patience: float) -> Iterator[Mapping[str, bytes]]:
        """Provide the images with these hashes until the block ends.

        Raises `ImageNotFound`, `StoreUnavailable`, and `ImageCacheFull` after `patience` seconds.
        """
        wanted: list[Image] = []
        for digest, image in zip(digests, self._images.find(list(digests)), strict=True):
            if image is None:
                raise ImageNotFound(digest)
            wanted.append(image)
        held, new = self._acquire(wanted, patience)
        try:
            for image in new:
                self._fetch(image, held[image.hash])
            yield {digest: each.data.result() for digest, each in held.items()}
        finally:
            self._release(held)

    def _acquire(self, wanted: Sequence[Image], patience: float) -> tuple[dict[str, _Entry], list[Image]]:
        """Reserve entries for these images. Returns them, and the new images, which the caller must fetch."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(wanted), patience):
                raise ImageCacheFull
            new = [image for image in wanted if image.hash not in self._entries]
            for image in wanted:
                each = self._entries.setdefault(image.hash, _Entry(_encoded_size(image)))
                each.holders += 1
                self._entries.move_to_end(image.hash)
            self._evict()
            return {image.hash: self._entries[image.hash] for image in wanted}, new

    def _fits(self, wanted: Sequence[Image]) -> bool:
        held = {digest: each.size for digest, each in self._entries.items() if each.holders}
        together = held | {image.hash: _encoded_size(image) for image in wanted}
        return not held or sum(together.values()) <= self._capacity

    def _evict(self) -> None:
        size = sum(each.size for each in self._entries.values())
        for digest in [digest for digest, each in self._entries.items() if not each.holders]:
            if size <= self._capacity:
                return
            size -= self._entries.pop(digest).size

    def _fetch(self, image: Image, each: _Entry) -> None:
        """Fetch an image for all that wait for it. They get an error, too; later submissions fetch again."""
        try:
            with self._fetches:
                each.data.set_result(b64encode(self._images.read(image)))
        except Exception as error:  # noqa: BLE001 - all waiting threads must get any error
            with self._changed:
                self._entries.pop(image.hash, None)
            each.data.set_exception(error)

    def _release(self, held: Mapping[str, _Entry]) -> None:
        with self._changed:
            for each in held.values():
                each.holders -= 1
            self._evict()
            self._changed.notify_all()


def _encoded_size(image: Image) -> int:
    return 4 * -(-image.size // 3)
