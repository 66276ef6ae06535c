"""Image files whose headers make readers work for long."""

import struct
import zlib

import pytest

from tests.support.drawing import drawn, png_chunk

MAX_BYTES = 10 * 1024 * 1024


def compressed_chunk(kind: bytes, size: int = 900_000) -> bytes:
    """A PNG chunk that expands to `size` bytes."""
    return png_chunk(kind, b"c\0\0" + zlib.compress(b"\0" * size, 9))


_HEAD = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 300, 300, 8, 2, 0, 0, 0))
_WHOLE_JPEG = drawn(kind="JPEG")
#: Files whose header made a reader work for long, or would make a simple one.
HOSTILE = [
    pytest.param(_HEAD + compressed_chunk(b"iCCP") * 1500, "truncated", id="colour profiles"),
    pytest.param(_HEAD + compressed_chunk(b"zTXt") * 1500, "truncated", id="texts"),
    pytest.param(
        _HEAD + png_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(900_000))) * 900, "truncated", id="iTXt"
    ),
    pytest.param(_HEAD + png_chunk(b"tEXt", b"a\0b") * 640_000, "truncated", id="small chunks"),
    pytest.param(_HEAD + png_chunk(b"IDAT", b"") * 800_000, "truncated", id="empty pixels"),
    pytest.param(b"\xff" * (MAX_BYTES - 1), "not a known", id="only fill bytes"),
    pytest.param(b"\xff\xd8" + b"\xff" * (MAX_BYTES - 2), "header", id="fill bytes"),
    pytest.param(b"\xff\xd8\xff" + bytes(MAX_BYTES - 3), "header", id="junk before a marker"),
    pytest.param(b"\xff\xd8" + (b"\xff" * 90 + b"\xfe\0\2") * 110_000, "header", id="fill bytes, spread"),
    pytest.param(b"\xff\xd8\xff\xe0\0\2" * 1_700_000, "header", id="starts"),
    pytest.param(b"\xff\xd8" + b"\xff\xe2\0\2" * 2_600_000, "header", id="empty segments"),
    pytest.param(b"\xff\xd8" + b"\xff\xe2\0\0" * 2_600_000, "header", id="segments of length 0"),
    pytest.param(_WHOLE_JPEG[:-2] + b"\xff" * (MAX_BYTES - 9000), "truncated", id="fill bytes after the pixels"),
    pytest.param(_WHOLE_JPEG[:-2] + b"\xff\0" * 5_000_000, "truncated", id="stuffed pixels"),
    pytest.param(_WHOLE_JPEG[:-2] + b"\xff\xd0" * 5_000_000, "truncated", id="restart markers"),
    pytest.param(_WHOLE_JPEG[:-2] + b"\xff\xda\0\2" * 2_000_000, "truncated", id="scans"),
    pytest.param(b"GIF89a" + b"\x2c\1\2" * 3_000_000, "GIF", id="GIF"),
    pytest.param(b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\0\0\0\0" * 2_500_000, "WEBP", id="WebP"),
    pytest.param(b"II*\0\x08\0\0\0" * 1_250_000, "TIFF", id="TIFF"),
]
