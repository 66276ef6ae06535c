"""Images on their way to the provider: fetched once, encoded once, and shared by all submissions that send them.

Ten thousand jobs with the same pictures cost one copy of each; jobs with pictures of their own wait for each other when
together they would take more memory than there is for them.
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

#: Images fetched and encoded at the same time: each takes twice its size for a moment, beside what is kept.
FETCHES = 4


class NoRoom(Exception):
    """Other submissions' images took all the memory there is, for too long."""


@dataclass(slots=True)
class _Kept:
    """`size`: of the base64, in bytes. `holders`: submissions that send it just now."""

    size: int
    holders: int = 0
    data: "Future[bytes]" = field(default_factory=Future)


class Pictures:
    """Images as base64. `room`: bytes that all of them may take; a single job may take more when it is alone."""

    def __init__(self, images: Images, room: int) -> None:
        self._images = images
        self._room = room
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the one that was needed longest ago first
        self._changed = Condition()
        self._fetches = BoundedSemaphore(FETCHES)

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        with self._changed:
            return sum(each.size for each in self._kept.values())

    @contextmanager
    def held(self, digests: Collection[str], patience: float) -> Iterator[Mapping[str, bytes]]:
        """The images under these hashes, until the block ends.

        Raises `ImageNotFound`; `StoreUnavailable` where it is not known whether they are there; `NoRoom` after
        `patience` seconds.
        """
        wanted: list[Image] = []
        for digest, image in zip(digests, self._images.find(list(digests)), strict=True):
            if image is None:
                raise ImageNotFound(digest)
            wanted.append(image)
        kept, new = self._take(wanted, patience)
        try:
            for image in new:
                self._fetch(image, kept[image.hash])
            yield {digest: each.data.result() for digest, each in kept.items()}
        finally:
            self._give_back(kept)

    def _take(self, wanted: Sequence[Image], patience: float) -> tuple[dict[str, _Kept], list[Image]]:
        """Hold these; those that are new are to be fetched by whoever called."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(wanted), patience):
                raise NoRoom
            new = [image for image in wanted if image.hash not in self._kept]
            for image in wanted:
                each = self._kept.setdefault(image.hash, _Kept(_encoded_size(image)))
                each.holders += 1
                self._kept.move_to_end(image.hash)
            self._make_room()
            return {image.hash: self._kept[image.hash] for image in wanted}, new

    def _fits(self, wanted: Sequence[Image]) -> bool:
        held = {digest: each.size for digest, each in self._kept.items() if each.holders}
        together = held | {image.hash: _encoded_size(image) for image in wanted}
        return not held or sum(together.values()) <= self._room

    def _make_room(self) -> None:
        size = sum(each.size for each in self._kept.values())
        for digest in [digest for digest, each in self._kept.items() if not each.holders]:
            if size <= self._room:
                return
            size -= self._kept.pop(digest).size

    def _fetch(self, image: Image, each: _Kept) -> None:
        """Fetch it for all who wait for it; they are told of a failure too, and nobody after them."""
        try:
            with self._fetches:
                each.data.set_result(b64encode(self._images.read(image)))
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for it must hear of it
            with self._changed:
                self._kept.pop(image.hash, None)
            each.data.set_exception(error)

    def _give_back(self, kept: Mapping[str, _Kept]) -> None:
        with self._changed:
            for each in kept.values():
                each.holders -= 1
            self._make_room()
            self._changed.notify_all()


def _encoded_size(image: Image) -> int:
    return 4 * -(-image.size // 3)
