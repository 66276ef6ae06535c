import struct
import subprocess
import sys
import time
import zlib
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schemas.images import MAX_BASE64, MAX_BYTES, image_problem
from tests.support.drawing import DrawBase64, camera_jpeg, png_chunk, png_with_preview
from tests.support.hostile_images import HOSTILE, compressed_chunk


def _png(width: int, height: int, *more: bytes) -> str:
    """A PNG whose header claims a size. It has too few pixels for it, but only decoding would show that."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    whole = (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(more)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )
    return b64encode(whole).decode("ascii")


@pytest.mark.parametrize(
    ("width", "height", "problem"),
    [
        (300, 300, None),
        (750, 300, None),
        (300, 750, None),
        (299, 300, "at least 300 px"),
        (300, 299, "at least 300 px"),
        (1, 1, "at least 300 px"),
        (751, 300, "1:2.5 and 2.5:1"),
        (300, 751, "1:2.5 and 2.5:1"),
        (10_000, 10_000, None),
        (10_001, 10_000, "more than 100 megapixels"),
        (2_147_483_647, 2_147_483_647, "decompression bomb"),
    ],
)
def test_an_image_outside_the_limits_of_size_and_ratio_is_refused(width: int, height: int, problem: str | None) -> None:
    found = image_problem(_png(width, height))

    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_png_and_jpeg_are_accepted(kind: str, base64_image: DrawBase64) -> None:
    assert image_problem(base64_image(320, 640, kind)) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_accepted(mode: str) -> None:
    assert image_problem(b64encode(saved(mode, "PNG")).decode()) is None


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 60_000}, {"restart_marker_rows": 1}])
def test_every_kind_of_jpeg_is_accepted(mode: str, options: dict[str, Any]) -> None:
    assert image_problem(b64encode(saved(mode, "JPEG", **options)).decode()) is None


def saved(mode: str, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.new(mode, (400, 300)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "name"), [("GIF", "a GIF"), ("WEBP", "a WEBP"), ("PDF", "a PDF"), ("BMP", "a BMP"), ("TIFF", "a TIFF")]
)
def test_other_formats_are_refused_by_name(kind: str, name: str, base64_image: DrawBase64) -> None:
    assert image_problem(base64_image(kind=kind)) == f"is {name}; send a .jpg, .jpeg or .png"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "must not be empty"),
        (" \n", "must not be empty"),
        ("data:image/png;base64,iVBORw0KGgo=", "data: prefix"),
        ("DATA:image/png;base64,iVBORw0KGgo=", "data: prefix"),
        (" data:image/png;base64,iVBORw0KGgo=", "data: prefix"),
        ("ftp://example.com/a.png", "neither an http(s) URL nor raw base64"),
        ("file:///etc/passwd", "neither an http(s) URL"),
        ("javascript:alert(1)", "neither an http(s) URL"),
        ("example.com/fox.png", "neither an http(s) URL"),
        ("iVBORw0KGgo", "padded"),
        ("iVBORw0K Ggo=", "without spaces"),
        ("iVBORw0K\nGgo=", "line breaks"),
        ("iVBORw0KGgo=iVBORw0KGgo=", "raw base64"),
        ("-_-_", "standard alphabet"),
        ("ÄÖÜß", "raw base64"),
        ("\ud800\ud800\ud800\ud800", "raw base64"),
        (b64encode(b"plain text").decode(), "send a .jpg, .jpeg or .png"),
        (b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 50).decode(), "its header cannot be read"),
        (b64encode(b"\xff\xd8\xff" + b"\0" * 50).decode(), "JPEG, but its header cannot be read"),
        ("https://127.0.0.1/fox.png", "not public"),
        ("HTTPS://example.com/fox.png", None),
    ],
)
def test_text_that_is_no_image_is_refused_with_the_reason(value: str, problem: str | None) -> None:
    found = image_problem(value)

    assert (found is None) if problem is None else (found is not None and problem in found)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_a_truncated_image_is_refused(kind: str, part: float, assets: Path) -> None:
    raw = (assets / "images" / {"PNG": "coffee.png", "JPEG": "rocket.jpg"}[kind]).read_bytes()

    problem = image_problem(b64encode(raw[: int(len(raw) * part)]).decode())

    assert problem is not None
    assert kind in problem


#: Images with another whole image inside.
NESTED = [
    pytest.param(camera_jpeg(), id="EXIF thumbnail"),
    pytest.param(camera_jpeg(progressive=True), id="EXIF thumbnail, progressive"),
    pytest.param(camera_jpeg(restart_marker_rows=1), id="EXIF thumbnail, restart markers"),
    pytest.param(png_with_preview(), id="PNG with a preview"),
]


@pytest.mark.parametrize("raw", NESTED)
def test_an_image_is_truncated_although_the_image_inside_is_whole(raw: bytes) -> None:
    assert image_problem(b64encode(raw).decode()) is None
    for part in (0.3, 0.5, 0.7, 0.99):
        problem = image_problem(b64encode(raw[: int(len(raw) * part)]).decode())
        assert problem is not None
        assert "truncated" in problem


def test_a_second_image_behind_the_first_may_be_cut() -> None:
    # As phones append one: a depth map, a larger preview, a video.
    first, second = camera_jpeg(), camera_jpeg()

    assert image_problem(b64encode(first + second).decode()) is None
    assert image_problem(b64encode(first + second[: len(second) // 2]).decode()) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_bytes_after_the_end_are_accepted(kind: str, base64_image: DrawBase64) -> None:
    raw = b64decode(base64_image(kind=kind)) + b"a phone's maker's trailer" * 1000

    assert image_problem(b64encode(raw).decode()) is None


def test_the_length_is_checked_before_decoding() -> None:
    assert "larger than 10 MB" in (image_problem("*" * (MAX_BASE64 + 1)) or "")


def test_at_most_ten_megabytes_are_accepted(base64_image: DrawBase64) -> None:
    raw = b64decode(base64_image())

    assert image_problem(b64encode(raw.ljust(MAX_BYTES, b"\0")).decode()) is None
    assert "more than 10 MB" in (image_problem(b64encode(raw.ljust(MAX_BYTES + 1, b"\0")).decode()) or "")


def test_a_broken_exif_block_is_ignored_without_a_warning(base64_image: DrawBase64) -> None:
    raw = b64decode(base64_image(kind="JPEG"))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\x00\x1a\x01\x05\x00\xff\xff\xff\x7f\xff\xff\xff\x7f"
    marked = raw[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + raw[2:]

    assert image_problem(b64encode(marked).decode()) is None


@pytest.mark.parametrize(("raw", "problem"), HOSTILE)
@pytest.mark.slow
def test_a_hostile_header_takes_little_time(raw: bytes, problem: str) -> None:
    assert len(raw) <= MAX_BYTES
    text = b64encode(raw).decode()
    began = time.process_time()

    found = image_problem(text)

    assert problem in (found or "")
    # Pillow's readers took 6 to 35 s for most of these. This includes decoding 14 MB of base64.
    assert time.process_time() - began < 1.5


@pytest.mark.slow
def test_nothing_is_decompressed() -> None:
    # Whole images that a reader would unpack to a gigabyte. Their pixels are the provider's concern.
    bombs = [compressed_chunk(kind, 50_000_000) for kind in (b"iCCP", b"zTXt")]
    began = time.process_time()

    assert all(image_problem(_png(300, 300, *[bomb] * 20)) is None for bomb in bombs)
    assert time.process_time() - began < 1.5


BOMB = """
import resource, struct, sys, warnings, zlib
from base64 import b64encode
from schemas.images import image_problem
warnings.simplefilter("error")
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
packer, side = zlib.compressobj(), 13000
pixels = b"".join([packer.compress(bytes(1 + side // 8)) for _ in range(side)] + [packer.flush()])
size = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
chunks = chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
bomb = b64encode(b"\\x89PNG\\r\\n\\x1a\\n" + chunks).decode()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
problem = image_problem(bomb)
print(len(bomb), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, problem, sep="|")
"""


@pytest.mark.stack
def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    # Given a real PNG of 169 megapixels in 28 kB, which takes some 20 MB as bits and 500 MB as RGB
    # When a process of its own checks it, with every warning an error
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", BOMB], cwd=root, capture_output=True, text=True, check=True, timeout=60)

    # Then it is refused as a decompression bomb, and memory has not grown
    length, grown_kb, problem = run.stdout.strip().split("|")
    assert int(length) < 40_000
    assert int(grown_kb) < 4_000
    assert problem.startswith("is 13000 × 13000 px, a decompression bomb")


@given(st.binary(max_size=200), st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xda", b""]))
def test_any_bytes_are_refused_without_an_error(tail: bytes, magic: bytes) -> None:
    problem = image_problem(b64encode(magic + tail).decode())

    assert problem is not None


@given(
    st.binary(max_size=120),
    st.sampled_from([b"acTL", b"fcTL", b"iCCP", b"tRNS", b"pHYs", b"iTXt", b"eXIf", b"PLTE", b"cHRM"]),
)
def test_any_chunk_is_checked_without_an_error(data: bytes, kind: bytes) -> None:
    assert image_problem(_png(300, 300, png_chunk(kind, data))) is None


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_is_checked_without_an_error(text: str) -> None:
    problem = image_problem(text)

    assert problem is None or problem.encode("utf-8")
