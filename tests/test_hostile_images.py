"""Files of up to 10 MB that are made to keep a reader busy: for the service, its client and the simulator."""

import struct
import time
import zlib
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image

from boomerang_client.image_rules import problem_of
from ops.simulator import images as simulated
from ops.simulator.draw import ImageSpec, render
from schemas import ImageInvalid, read_image
from schemas.images import MAX_BYTES
from tests.support import drawing

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BOMB = zlib.compress(bytes(20_000_000), 9)


def chunk(kind: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def segment(marker: int, data: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def filled(part: bytes, before: bytes, after: bytes = b"") -> bytes:
    """A file of the largest size: as many parts as fit between the two."""
    return before + part * ((MAX_BYTES - len(before) - len(after)) // len(part)) + after


PNG = SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 400, 400, 8, 2, 0, 0, 0))
PNG_END = chunk(b"IDAT", b"x") + chunk(b"IEND")
JPEG = b"\xff\xd8"
FRAME = segment(0xC0, struct.pack(">BHHB", 8, 400, 400, 3) + bytes(9))
SCAN = segment(0xDA, bytes(10))
JPEG_END = b"\xff\xd9"

HOSTILE = {
    "1,500 small iCCP bombs": PNG + chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(60_000), 9)) * 1_500 + PNG_END,
    "iCCP bombs": PNG + chunk(b"iCCP", b"x\0\0" + BOMB) * 400 + PNG_END,
    "text bombs": PNG + (chunk(b"zTXt", b"k\0\0" + BOMB) + chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)) * 200 + PNG_END,
    "EXIF bombs in a PNG": PNG + chunk(b"eXIf", BOMB) * 400 + PNG_END,
    "animation frames": filled(chunk(b"fcTL", bytes(26)), PNG + chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "empty animation data": filled(chunk(b"fdAT"), PNG, PNG_END),
    "empty chunks": filled(chunk(b"tEXt"), PNG, PNG_END),
    "empty pixels": filled(chunk(b"IDAT"), PNG, PNG_END),
    "many headers": filled(PNG[8:], PNG, PNG_END),
    "a chunk beyond the file": PNG + chunk(b"IDAT", b"x", 2**32 - 1) + bytes(MAX_BYTES // 2),
    "zeros": filled(b"\0", PNG),
    "fill": filled(b"\xff", JPEG),
    "fill behind the frame": filled(b"\xff", JPEG + FRAME),
    "fill between segments": filled(b"\xff" * 200 + segment(0xE0), JPEG),
    "padded markers": filled(b"\xff\0", JPEG + FRAME),
    "empty segments": filled(segment(0xFE), JPEG),
    "empty segments behind the frame": filled(segment(0xFE), JPEG + FRAME, SCAN + JPEG_END),
    "19,000 empty segments": JPEG + segment(0xFE) * 19_000 + FRAME + SCAN + bytes(999) + JPEG_END,
    "19,000 tables": JPEG + segment(0xDB, bytes(65)) * 19_000 + FRAME + SCAN + bytes(999) + JPEG_END,
    "start markers": filled(b"\xff\xd8", JPEG),
    "segments without a length": filled(b"\xff\xe0\0\0", JPEG),
    "EXIF blocks": JPEG + segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + b"\xff" * 60_000) * 160 + FRAME + SCAN + JPEG_END,
    "colour profiles": JPEG + segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000)) * 150 + FRAME + SCAN + JPEG_END,
    "scans": filled(SCAN, JPEG + FRAME, JPEG_END),
    "escaped bytes": filled(b"\xff\0", JPEG + FRAME + SCAN, JPEG_END),
    "fill in a scan": filled(b"\xff", JPEG + FRAME + SCAN, JPEG_END),
    "restart markers": filled(b"\xff\xd0", JPEG + FRAME + SCAN, JPEG_END),
    "tables behind a scan": filled(segment(0xC4), JPEG + FRAME + SCAN, JPEG_END),
}


def by_service(data: bytes) -> None:
    with suppress(ImageInvalid):
        read_image(data)


def by_simulator(data: bytes) -> None:
    with suppress(simulated.ImageInvalid):
        simulated.read_image(b64encode(data).decode())


def by_drawing(data: bytes) -> None:
    render(ImageSpec("a cat", 320, 320, watermark=False, references=()), (data,), "job-1")


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("read", [by_service, problem_of, by_simulator, by_drawing])
def test_a_hostile_image_takes_little_time(data: bytes, read: Callable[[bytes], object]) -> None:
    assert len(data) <= MAX_BYTES
    began = time.process_time()
    read(data)
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize("data", [drawing.drawn(300, 400, "PNG"), drawing.camera_jpeg(), drawing.png_with_preview()])
def test_an_image_without_metadata_has_the_same_pixels(data: bytes) -> None:
    plain = simulated.without_metadata(data)
    with Image.open(BytesIO(plain)) as drawn, Image.open(BytesIO(data)) as whole:
        assert drawn.tobytes() == whole.tobytes()
