"""Images in requests: a URL that the provider can reach, raw base64, or the reference of a stored image.

Both model pages have the same rules: jpg or png, at most 10 MB, at least 300 px per side, between 1:2.5 and 2.5:1, no
`data:` prefix. This module never fetches a URL, and reads only the header of an image. A reference,
`image:sha256:<hash of the file>`, is our own: the image was checked when it was stored.
"""

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha256

from schemas.image_header import PNG_SIGNATURE, Header, read_jpeg, read_png
from schemas.invisible import is_blank
from schemas.urls import MAX_IMAGE_URL, url_problem

MAX_BYTES = 10 * 1024 * 1024
#: 10 MB in base64 with padding. Longer text is refused before it is decoded.
MAX_BASE64 = 4 * -(-MAX_BYTES // 3)
MIN_SIDE = 300
#: Largest ratio of the sides, 5 to 2: integers need no tolerance.
RATIO = (5, 2)
#: Our rule, not the provider's: 10 MB can hold billions of pixels, and decoding them exhausts the memory.
MAX_PIXELS = 100_000_000

#: Beginning of a reference. 64 lowercase hexadecimal digits follow.
REFERENCE = "image:sha256:"
_REFERENCE = re.compile(REFERENCE + "[0-9a-f]{64}")

_JPEG_START = b"\xff\xd8\xff"
_OTHERS = {
    b"GIF8": "GIF", b"RIFF": "WEBP", b"%PDF": "PDF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
}  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
#: The forms of an image in a request.
FORMS = "an image URL, raw base64, or a reference from POST /v1/images"
_FORMATS = "send a .jpg, .jpeg or .png"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A valid image file, with its size in pixels. `format` is png or jpeg."""

    data: bytes = field(repr=False)
    width: int
    height: int
    format: str

    @property
    def hash(self) -> str:
        """SHA-256 of the file in hexadecimal, under which it is stored."""
        return sha256(self.data).hexdigest()


class ImageInvalid(ValueError):
    """An image breaks a rule. The message says which, and what to do."""


def image_problem(value: str) -> str | None:
    """Return what is wrong with an image in a request and what to do, or None if it is valid."""
    if is_blank(value):
        return f"must not be empty: give {FORMS}"
    head = value[:16].lower()
    if head.startswith(("http://", "https://")):
        return url_problem(value, MAX_IMAGE_URL)
    if head.lstrip().startswith("data:"):
        return "has a data: prefix; remove everything up to and including the comma, and send the raw base64 only"
    if head.startswith("image:"):
        return None if is_reference(value) else "is not a valid reference; give the id from POST /v1/images"
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
    """Return whether this has the form of a reference. The image may be missing."""
    return _REFERENCE.fullmatch(value) is not None


def is_inline(value: str) -> bool:
    """Return whether a valid image is base64."""
    return _SCHEME.match(value) is None


def from_base64(value: str) -> ImageFile:
    """Decode and check raw base64. Raises `ImageInvalid`."""
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
    return read_image(raw)


def read_image(raw: bytes) -> ImageFile:
    """Check the bytes of an image file. Raises `ImageInvalid`."""
    if len(raw) > MAX_BYTES:
        raise ImageInvalid(f"is {len(raw):,} bytes, more than 10 MB; send a smaller file")
    if raw.startswith(PNG_SIGNATURE):
        width, height = _checked(read_png(raw), "PNG")
        return ImageFile(raw, width, height, "png")
    if raw.startswith(_JPEG_START):
        width, height = _checked(read_jpeg(raw), "JPEG")
        return ImageFile(raw, width, height, "jpeg")
    named = next(
        (f"is a {name}" for magic, name in _OTHERS.items() if raw.startswith(magic)), "is not a known image format"
    )
    raise ImageInvalid(f"{named}; {_FORMATS}")


def _checked(header: Header | None, name: str) -> tuple[int, int]:
    """Return width and height. Raises `ImageInvalid` if they, or the file, break a rule."""
    if header is None:
        raise ImageInvalid(f"begins like a {name}, but its header cannot be read; send a complete file")
    if not header.whole:
        raise ImageInvalid(f"is a truncated {name}; send the whole file")
    width, height = header.width, header.height
    if width * height > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} megapixels"
        raise ImageInvalid(f"is {width} × {height} px, a decompression bomb ({limit}); send a smaller image")
    if min(width, height) < MIN_SIDE:
        raise ImageInvalid(f"is {width} × {height} px; each side must have at least {MIN_SIDE} px: send a larger image")
    long, short = RATIO
    if max(width, height) * short > min(width, height) * long:
        raise ImageInvalid(f"is {width} × {height} px; its ratio must be between 1:2.5 and 2.5:1: crop or pad it")
    return width, height
