"""Small files of each kind, as bytes."""

import io
import struct

from PIL import Image


def image(kind: str, width: int = 40, height: int = 30, colour: int = 7) -> bytes:
    """Return a PNG, JPEG, WebP or GIF."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), (colour % 256, 90, 120)).save(out, kind.upper())
    return out.getvalue()


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind) + body


def iso(brand: bytes) -> bytes:
    """Return the boxes of an ISO media file."""
    return box(b"ftyp", brand + b"\0\0\0\0") + box(b"mdat", bytes(1000)) + box(b"moov", bytes(20))


def riff(kind: bytes) -> bytes:
    body = kind + b"fmt " + bytes(200)
    return b"RIFF" + struct.pack("<I", len(body)) + body
