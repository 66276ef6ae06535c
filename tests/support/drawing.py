"""Draw images for tests."""

import random
import struct
import zlib
from io import BytesIO
from typing import Any, Protocol

from PIL import Image


class Draw(Protocol):
    """The type of the fixture `draw`."""

    def __call__(self, size: int = 0, seed: int = 0) -> bytes: ...


class DrawBase64(Protocol):
    """The type of fixtures that draw an image of a size and format as raw base64."""

    def __call__(
        self, width: int = 300, height: int = 300, kind: str = "PNG", colour: str = "red", **options: Any
    ) -> str: ...


class DrawImage(Protocol):
    """The type of fixtures that draw an image of a size and format."""

    def __call__(
        self, width: int = 300, height: int = 300, kind: str = "PNG", colour: str = "red", **options: Any
    ) -> bytes: ...


def draw_png(size: int = 0, seed: int = 0) -> bytes:
    """Draw a valid PNG of at least `size` bytes. Each seed gives a different image."""
    buffer = BytesIO()
    Image.new("RGB", (320, 300), (seed % 256, seed // 256, 0)).save(buffer, "PNG")
    # Bytes after the end of an image are harmless, and faster to make than incompressible pixels.
    return buffer.getvalue() + random.Random(seed).randbytes(max(0, size - buffer.tell()))


def drawn(width: int = 400, height: int = 300, kind: str = "PNG", colour: str = "red", **options: Any) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), colour).save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG whose header claims this size, without pixels."""

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def camera_jpeg(width: int = 400, height: int = 300, **options: Any) -> bytes:
    """A JPEG of noise, as large as a photograph, with a whole JPEG as its thumbnail in an EXIF segment."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + drawn(160, 120, "JPEG")
    return _noise(width, height, "JPEG", quality=90, exif=exif, **options)


def png_with_preview(width: int = 400, height: int = 300) -> bytes:
    """A PNG of noise with a whole PNG in a chunk before its pixels."""
    preview = drawn(160, 120)
    whole = _noise(width, height, "PNG")
    head = len(b"\x89PNG\r\n\x1a\n") + 25
    return whole[:head] + png_chunk(b"prVW", preview) + whole[head:]


def _noise(width: int, height: int, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    pixels = random.Random(0).randbytes(3 * width * height)
    Image.frombytes("RGB", (width, height), pixels).save(file, kind, **options)
    return file.getvalue()
