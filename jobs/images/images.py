"""Reference images: each is stored once, under the hash of its bytes, while jobs refer to it.

Redis holds the metadata and the references, which change with the jobs in one script. The bytes are in an image store,
which does not know jobs. Bytes are written before the image is recorded, and removed after its record, and each copy is
an object with a new name. So no accepted job refers to an image whose bytes are incomplete or being removed.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from secrets import token_hex
from typing import Protocol

from jobs.decoding import decoding
from jobs.errors import ImageNotFound, ImagesUnavailable
from jobs.fields import printable
from jobs.settings import Settings
from jobs.store.arguments import flag
from jobs.store.outcomes.images import KeepOutcome
from jobs.store.scripts import Scripts
from jobs.units import duration_micros

#: Seconds in which an object must be written. An incomplete one is removed after that.
LONGEST_WRITE = 3600.0
#: Objects removed in one round.
STEP = 50


class ImageFile(Protocol):
    """A valid image; schemas creates them."""

    @property
    def data(self) -> bytes: ...
    @property
    def hash(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def format(self) -> str: ...


class ImageStore(Protocol):
    """Stores bytes. Objects are written once and never changed. All methods raise `ImagesUnavailable`."""

    def write(self, name: str, data: bytes) -> None:
        """Store an object; it is complete and durable when this returns."""

    def read(self, name: str) -> bytes | None:
        """Read an object; None: it certainly does not exist."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects that exist; ignore others."""


@dataclass(frozen=True, slots=True)
class Image:
    """A stored image: the name of its object, its size in bytes and in pixels, and its format."""

    hash: str
    object: str
    size: int
    width: int
    height: int
    format: str


class Images:
    """Stores and finds images. All methods raise `StoreUnavailable` (`ImagesUnavailable` is one)."""

    def __init__(self, scripts: Scripts, kept_in: ImageStore, settings: Settings) -> None:
        self._scripts = scripts
        self._kept_in = kept_in
        self._retention = settings.image_retention

    def put(self, file: ImageFile, owner: str = "", *, counts: bool = True) -> bool:
        """Store an image unless it is stored already; return whether it is new to the producer `owner`.

        It is written again if only others have uploaded it, so that not even the time shows whether they have.
        `counts`: a new image counts in the bytes of `owner`.
        """
        digest = file.hash
        if self.find([digest], owner)[0]:
            return False
        name = f"{digest}-{token_hex(8)}"
        image = Image(digest, name, len(file.data), file.width, file.height, file.format)
        self._scripts.call("image_begun", name, duration_micros(LONGEST_WRITE))
        self._kept_in.write(name, file.data)
        outcome = self._scripts.call("image_kept", digest, name, json.dumps(asdict(image)), owner, flag(counts))
        if outcome in (KeepOutcome.KNOWN, KeepOutcome.SHARED):
            self._remove([name])  # another process or producer stored it first
        if outcome == KeepOutcome.LATE:
            raise ImagesUnavailable(f"The image store took longer than {LONGEST_WRITE:.0f} s to take an image.")
        return outcome in (KeepOutcome.KEPT, KeepOutcome.SHARED)

    def find(self, digests: Sequence[str], owner: str = "") -> list[Image | None]:
        """Find images by their hashes, None where there is none. The retention of those found begins anew.

        `owner`: only what this producer has uploaded, or sent in a job. By default, and for `jobs.owners.ANYONE`, all.
        """
        if not digests:
            return []
        rows = zip(digests, self._scripts.call("image_known", owner, *digests), strict=True)
        return [_image(digest, kept) if kept else None for digest, kept in rows]

    def absent(self, digests: Iterable[str], owner: str = "") -> set[str]:
        """Return the hashes of which no image is stored; `owner` as in `find`."""
        asked = list(digests)
        return {digest for digest, image in zip(asked, self.find(asked, owner), strict=True) if image is None}

    def read(self, image: Image) -> bytes:
        """Read the bytes. If the image store has lost them, delete the image and raise `ImageNotFound`."""
        data = self._kept_in.read(image.object)
        if data is None or sha256(data).hexdigest() != image.hash:
            self._scripts.call("image_lost", image.hash, image.object)
            raise ImageNotFound(image.hash)
        return data

    def purge(self) -> int:
        """Delete images that no job needs any more; return how many objects. A call is bounded work."""
        names = self._scripts.call("images_old", duration_micros(self._retention), STEP, STEP)
        if names:
            self._remove(names)
        return len(names)

    def _remove(self, names: Sequence[str]) -> None:
        self._kept_in.remove(names)
        self._scripts.call("images_gone", *names)


def _image(digest: str, kept: str) -> Image:
    with decoding(f"image {printable(digest)}"):
        image = Image(**json.loads(kept))
        if image.hash != digest or not isinstance(image.object, str):
            raise ValueError("it is another's")
        return image
