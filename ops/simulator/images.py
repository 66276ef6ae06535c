"""Reference images: the rules for them, and the store of those that were sent as base64."""

import base64
import binascii
import hashlib
import re
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

MOST_BYTES = 10 * 1024 * 1024
LEAST_SIDE = 300
#: base64 takes four characters for three bytes: a longer text is refused without being decoded.
MOST_CHARACTERS = (MOST_BYTES + 2) // 3 * 4
#: Characters of the longest URL. Presigned ones have some thousand.
LONGEST_URL = 8192

_URL = re.compile(r"https?://[^\s/?#@:]+(:\d{1,5})?([/?#]\S*)?", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_PNG_SIZE, _JPEG_SIZE, _PNG_HEADER = struct.Struct(">II"), struct.Struct(">HH"), 24
#: JPEG markers that a length follows, and those of them that begin a frame header.
_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xda-\xfe])")
_FRAMES = frozenset(bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
_MOST_SEGMENTS, _MOST_FILL = 20_000, 4096
#: What of a file is needed to draw its pixels, and of the segments in front of them only the first few.
_PNG_CHUNKS, _MOST_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}), 20_000
_SCAN = b"\xda"
#: APP2 to APP13, APP15 and comments: colour profiles and texts.
_NOT_DRAWN = frozenset(bytes([marker]) for marker in (*range(0xE2, 0xEE), 0xEF, 0xFE))
_MOST_DRAWN = 64


class ImageInvalid(ValueError):
    """The value is not an acceptable reference image. The message says why."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference image: a URL, or its content with its size in pixels."""

    url: str | None = None
    content: bytes | None = None
    size: tuple[int, int] | None = None


def is_url(text: str) -> bool:
    """Return whether this is an http or https URL, by syntax only."""
    return len(text) <= LONGEST_URL and _URL.fullmatch(text) is not None


def read_image(value: object) -> Reference:
    """Parse a URL or raw base64. Reads the header of an image, never its pixels. Raises ImageInvalid."""
    if not isinstance(value, str) or not value.strip():
        raise ImageInvalid("must be an image URL or a raw Base64 string, and not empty")
    if value[:5].lower() == "data:":
        raise ImageInvalid("must be raw Base64 without a prefix such as data:image/png;base64,")
    if _SCHEME.match(value[:20]):
        if not is_url(value):
            raise ImageInvalid("is not a valid http(s) URL")
        return Reference(url=value)
    return _read_base64(value)


def _read_base64(text: str) -> Reference:
    if len(text) > MOST_CHARACTERS:
        raise ImageInvalid("file size must not exceed 10MB")
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ImageInvalid("is neither a URL nor valid Base64") from error
    if len(content) > MOST_BYTES:
        raise ImageInvalid("file size must not exceed 10MB")
    width, height = _size(content)
    if width < LEAST_SIDE or height < LEAST_SIDE:
        raise ImageInvalid(f"width and height must be at least 300px, this is {width}x{height}")
    if width * 2 > height * 5 or height * 2 > width * 5:
        raise ImageInvalid(f"aspect ratio must be between 1:2.5 and 2.5:1, this is {width}x{height}")
    return Reference(content=content, size=(width, height))


def _size(content: bytes) -> tuple[int, int]:
    """Return width and height. Pillow would decompress what is in a header, and read fill bytes one by one."""
    size = None
    if content.startswith(_PNG):
        size = _PNG_SIZE.unpack_from(content, 16) if content[12:16] == b"IHDR" and len(content) >= _PNG_HEADER else None
    elif content.startswith(_JPEG):
        size = _jpeg_size(content)
    else:
        raise ImageInvalid("format must be .jpg, .jpeg or .png")
    if size is None:
        raise ImageInvalid("cannot be read as an image")
    return size[0], size[1]


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = _SEGMENT.search(content, position, position + _MOST_FILL)
        if found is None:
            return None
        position = found.end()
        if found[1] in _FRAMES:
            height, width = _JPEG_SIZE.unpack_from(content, position + 3) if len(content) >= position + 7 else (0, 0)
            return width, height
        position += int.from_bytes(content[position : position + 2], "big")
    return None


def without_metadata(content: bytes) -> bytes:
    """Return an image with what its pixels need, and nothing that Pillow would decompress or step through by bytes.

    Raises ImageInvalid if the file has too many parts, or cannot be followed.
    """
    parts = list(_png_parts(content) if content.startswith(_PNG) else _jpeg_parts(content))
    return b"".join(parts)


def _png_parts(content: bytes) -> Iterator[bytes]:
    yield _PNG
    position = len(_PNG)
    for _ in range(_MOST_CHUNKS):
        kind = content[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        if kind in _PNG_CHUNKS:
            yield content[position:end]
        if not kind or kind == b"IEND":
            return
        position = end
    raise ImageInvalid("has too many chunks to be drawn")


def _jpeg_parts(content: bytes) -> Iterator[bytes]:
    yield content[:2]
    position, drawn = 2, 0
    for _ in range(_MOST_SEGMENTS):
        found = _SEGMENT.search(content, position, position + _MOST_FILL)
        if found is None or drawn > _MOST_DRAWN:
            break
        if found[1] == _SCAN:
            yield content[found.start() :]
            return
        position = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
        if found[1] not in _NOT_DRAWN:
            drawn += 1
            yield content[found.start() : position]
    raise ImageInvalid("has too many segments to be drawn, or no pixels")


class ReferenceImages:
    """Images by the hash of their content. Beyond `most_bytes` the oldest are forgotten, to bound the memory."""

    def __init__(self, most_bytes: int = 256 * 1024 * 1024) -> None:
        self._most = most_bytes
        self._held = 0
        self._images: OrderedDict[bytes, bytes] = OrderedDict()

    def put(self, content: bytes) -> bytes:
        """Store an image and return its digest."""
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest in self._images:
            self._images.move_to_end(digest)
            return digest
        self._images[digest] = content
        self._held += len(content)
        while self._held > self._most and len(self._images) > 1:
            self._held -= len(self._images.popitem(last=False)[1])
        return digest

    def get(self, digest: bytes) -> bytes | None:
        """Return the image, or None if it was forgotten."""
        return self._images.get(digest)

    def clear(self) -> None:
        """Forget all images."""
        self._images.clear()
        self._held = 0
