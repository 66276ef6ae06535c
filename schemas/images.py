"""An image that a request names: a URL that the provider can reach, raw base64, or the reference of a stored image.

The rules are the same on both model pages: jpg or png, at most 10 MB, at least 300 px a side, between 1:2.5 and 2.5:1,
no `data:` prefix. A URL is never fetched; of an image only the header is read, it is never decoded to pixels. A
reference, `image:sha256:<hash of the file>`, is ours: what it stands for was checked when it was stored.
"""

import binascii
import re
import struct
import zlib
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import Any, NoReturn

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from schemas.urls import url_problem

MAX_BYTES = 10 * 1024 * 1024
#: 10 MB in base64, padding included: longer text is refused before anything is decoded.
MAX_BASE64 = 4 * -(-MAX_BYTES // 3)
MIN_SIDE = 300
#: Longest side to shortest side, as 5 to 2: integers need no tolerance.
RATIO = (5, 2)
#: Not the provider's rule but ours: 10 MB can claim billions of pixels, and whoever decodes them runs out of memory.
MAX_PIXELS = 100_000_000

#: What a reference begins with; 64 lowercase hex digits follow.
REFERENCE = "image:sha256:"
_REFERENCE = re.compile(REFERENCE + "[0-9a-f]{64}")

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_OTHERS = {
    b"GIF8": "GIF", b"RIFF": "WEBP", b"%PDF": "PDF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
}  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: What a request may give for an image.
FORMS = "an image URL, raw base64, or a reference as POST /v1/images answers it"
_FORMATS = "send a .jpg, .jpeg or .png"
_BROKEN = (SyntaxError, ValueError, OSError, EOFError, struct.error, zlib.error, Warning, ArithmeticError, LookupError)


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of an image that keeps the rules, and what its header says; `format` is png or jpeg."""

    data: bytes = field(repr=False)
    width: int
    height: int
    format: str

    @property
    def hash(self) -> str:
        """SHA-256 of the bytes, in hex: what it is stored under."""
        return sha256(self.data).hexdigest()


class ImageInvalid(ValueError):
    """The bytes break a rule; the text says which, with the remedy."""


class _JpegHeader(JpegImageFile):
    """Only the size is wanted.

    EXIF, which Pillow reads for the resolution, is one more parser open to the sender, and a source of warnings.
    """

    def getexif(self) -> NoReturn:
        raise KeyError("EXIF")


def image_problem(value: str) -> str | None:
    """What is wrong with an image as a request gives it, with the remedy; None when it is valid."""
    if not value or value.isspace():
        return f"must not be empty: give {FORMS}"
    head = value[:16].lower()
    if head.startswith(("http://", "https://")):
        return url_problem(value)
    if head.lstrip().startswith("data:"):
        return "has a data: prefix; drop everything up to and including the comma and send the raw base64 alone"
    if head.startswith("image:"):
        return None if is_reference(value) else "is no reference of ours: give the id as POST /v1/images answers it"
    if _SCHEME.match(value):
        return f"is neither an http(s) URL nor raw base64; give {FORMS}"
    return _base64_problem(value)


def _base64_problem(value: str) -> str | None:
    try:
        from_base64(value)
    except ImageInvalid as error:
        return str(error)
    return None


def is_reference(value: str) -> bool:
    """Whether it is the reference of a stored image, there or not."""
    return _REFERENCE.fullmatch(value) is not None


def is_inline(value: str) -> bool:
    """Whether a valid image is given as base64."""
    return _SCHEME.match(value) is None


def from_base64(value: str) -> Picture:
    """The image in raw base64. Raises `ImageInvalid`."""
    if len(value) > MAX_BASE64:
        raise ImageInvalid(
            f"is larger than 10 MB ({len(value):,} base64 characters, at most {MAX_BASE64:,}); send a smaller file"
        )
    try:
        raw = b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise ImageInvalid(
            "is neither an http(s) URL nor raw base64 (standard alphabet, padded, without spaces or line breaks)"
        ) from None
    return read_picture(raw)


def read_picture(raw: bytes) -> Picture:
    """An image's own bytes. Raises `ImageInvalid`."""
    if len(raw) > MAX_BYTES:
        raise ImageInvalid(f"is {len(raw):,} bytes, more than 10 MB; send a smaller file")
    if raw.startswith(_PNG):
        width, height = _size(raw, PngImageFile, "PNG", b"IDAT", b"IEND")
        return Picture(raw, width, height, "png")
    if raw.startswith(_JPEG):
        width, height = _size(raw, _JpegHeader, "JPEG", b"\xff\xda", b"\xff\xd9")
        return Picture(raw, width, height, "jpeg")
    named = next(
        (f"is a {name}" for magic, name in _OTHERS.items() if raw.startswith(magic)), "is no image that we know"
    )
    raise ImageInvalid(f"{named}; {_FORMATS}")


def _size(raw: bytes, reader: Any, name: str, start: bytes, end: bytes) -> tuple[int, int]:
    # The format's own class and not Image.open(): that one warns about large images through the process-wide
    # `warnings`, or raises, by limits of its own. Constructing reads the header only.
    try:
        with reader(BytesIO(raw)) as image:
            width, height = image.size
    except _BROKEN:
        raise ImageInvalid(f"begins like a {name} but its header cannot be read; {_FORMATS} that is whole") from None
    # A file cut short lacks the end that its format writes after the pixels. Bytes behind the end are harmless, and
    # common.
    if raw.rfind(end) <= raw.find(start):
        raise ImageInvalid(f"is a {name} that was cut short; send the whole file")
    if width * height > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} megapixels"
        raise ImageInvalid(f"is {width} × {height} px, a decompression bomb ({limit}); send a smaller image")
    if min(width, height) < MIN_SIDE:
        raise ImageInvalid(f"is {width} × {height} px; each side needs at least {MIN_SIDE} px: send a larger image")
    long, short = RATIO
    if max(width, height) * short > min(width, height) * long:
        raise ImageInvalid(f"is {width} × {height} px; its ratio must be between 1:2.5 and 2.5:1: crop or pad it")
    return width, height
