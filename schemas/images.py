"""A reference image: a URL that the provider can reach, or raw base64 whose header is read here.

The rules are the same on both model pages: jpg or png, at most 10 MB, at least 300 px a side, between 1:2.5 and 2.5:1,
no `data:` prefix. A URL is never fetched; a base64 image is never decoded to pixels.
"""

import binascii
import re
import struct
import zlib
from base64 import b64decode
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

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_OTHERS = {
    b"GIF8": "GIF", b"RIFF": "WEBP", b"%PDF": "PDF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
}  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_FORMATS = "send a .jpg, .jpeg or .png"
_BROKEN = (SyntaxError, ValueError, OSError, EOFError, struct.error, zlib.error, Warning, ArithmeticError, LookupError)


class _JpegHeader(JpegImageFile):
    """Only the size is wanted.

    EXIF, which Pillow reads for the resolution, is one more parser open to the sender, and a source of warnings.
    """

    def getexif(self) -> NoReturn:
        raise KeyError("EXIF")


def image_problem(value: str) -> str | None:
    """What is wrong with an image given as a URL or raw base64, with the remedy; None when it is a valid reference."""
    if not value or value.isspace():
        return "must not be empty: give an image URL or raw base64"
    head = value[:16].lower()
    if head.startswith(("http://", "https://")):
        return url_problem(value)
    if head.lstrip().startswith("data:"):
        return "has a data: prefix; drop everything up to and including the comma and send the raw base64 alone"
    if _SCHEME.match(value):
        return "is neither an http(s) URL nor raw base64; give an image URL that begins with https://, or raw base64"
    return _base64_problem(value)


def _base64_problem(value: str) -> str | None:
    if len(value) > MAX_BASE64:
        return f"is larger than 10 MB ({len(value):,} base64 characters, at most {MAX_BASE64:,}); send a smaller file"
    try:
        raw = b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "is neither an http(s) URL nor raw base64 (standard alphabet, padded, without spaces or line breaks)"
    if len(raw) > MAX_BYTES:
        return f"is {len(raw):,} bytes, more than 10 MB; send a smaller file"
    if raw.startswith(_PNG):
        return _size_problem(raw, PngImageFile, "PNG", b"IDAT", b"IEND")
    if raw.startswith(_JPEG):
        return _size_problem(raw, _JpegHeader, "JPEG", b"\xff\xda", b"\xff\xd9")
    named = next(
        (f"is a {name}" for magic, name in _OTHERS.items() if raw.startswith(magic)), "is no image that we know"
    )
    return f"{named}; {_FORMATS}"


def _size_problem(raw: bytes, reader: Any, name: str, start: bytes, end: bytes) -> str | None:
    # The format's own class and not Image.open(): that one warns about large images through the process-wide
    # `warnings`, or raises, by limits of its own. Constructing reads the header only.
    try:
        with reader(BytesIO(raw)) as image:
            width, height = image.size
    except _BROKEN:
        return f"begins like a {name} but its header cannot be read; {_FORMATS} that is whole"
    # A file cut short lacks the end that its format writes after the pixels. Bytes behind the end are harmless, and
    # common.
    if raw.rfind(end) <= raw.find(start):
        return f"is a {name} that was cut short; send the whole file"
    if width * height > MAX_PIXELS:
        limit = f"more than {MAX_PIXELS // 10**6} megapixels"
        return f"is {width} × {height} px, a decompression bomb ({limit}); send a smaller image"
    if min(width, height) < MIN_SIDE:
        return f"is {width} × {height} px; each side needs at least {MIN_SIDE} px: send a larger image"
    long, short = RATIO
    if max(width, height) * short > min(width, height) * long:
        return f"is {width} × {height} px; its ratio must be between 1:2.5 and 2.5:1: crop or pad it"
    return None
