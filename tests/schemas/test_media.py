"""Kinds of files by their bytes, their sizes, and whether they are whole."""

import io
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schemas.media import ALL, BY_EXTENSION, ENOUGH, MediaInvalid, read_media, recognize
from tests.support.media_files import box, image, iso, riff

PAGE = b"<!DOCTYPE html><html><body>Not found</body></html>"
OTHERS = {
    "mp4": iso(b"isom"), "mov": iso(b"qt  "), "m4a": iso(b"M4A "), "avif": iso(b"avif"), "heic": iso(b"heic"),
    "wav": riff(b"WAVE"), "avi": riff(b"AVI "), "webm": b"\x1a\x45\xdf\xa3" + bytes(90), "ogg": b"OggS" + bytes(90),
    "flac": b"fLaC" + bytes(90), "mp3": b"ID3" + bytes(90), "tif": b"II*\0" + bytes(90),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
@pytest.mark.parametrize("size", [(1, 1), (40, 30), (1023, 17), (3000, 2)])
def test_an_image_has_its_size(kind: str, size: tuple[int, int]) -> None:
    file = read_media(image(kind, *size))
    assert file.media.content_type == f"image/{kind}"
    assert (file.width, file.height) == size


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}, {"save_all": True}])
def test_every_kind_of_webp_has_its_size(options: dict[str, bool]) -> None:
    out = io.BytesIO()
    one, other = (Image.new("RGBA", (321, 123), colour) for colour in ("red", "#00ff0080"))
    one.save(out, "WEBP", **options, **({"append_images": [other]} if "save_all" in options else {}))
    file = read_media(out.getvalue())
    assert (file.width, file.height) == (321, 123)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif"])
def test_half_an_image_is_not_accepted(kind: str) -> None:
    data = image(kind, 400, 300)
    for length in (ENOUGH, len(data) // 2, len(data) - 20):
        with pytest.raises(MediaInvalid):
            read_media(data[:length])


@pytest.mark.parametrize("extension", OTHERS)
def test_other_files_are_recognized(extension: str) -> None:
    assert read_media(OTHERS[extension]).media is BY_EXTENSION[extension]


@pytest.mark.parametrize("extension", ["mp4", "mov", "m4a", "avif", "wav", "avi"])
def test_half_of_another_file_is_not_accepted(extension: str) -> None:
    with pytest.raises(MediaInvalid, match="whole"):
        read_media(OTHERS[extension][:-10])


@pytest.mark.parametrize(
    "data",
    [
        b"", PAGE, b" \n<html>", b"BM" + bytes(100), b"%PDF-1.4",
        b'{"error": "expired"}', b"[]", b"<?xml version='1.0'?><Error/>", b"<svg/>", bytes(500),
        b"RIFF", b"RIFF\0\0\0\0", b"\x89PNG", b"\xff\xd8", b"GIF8", zlib.compress(PAGE),
    ],
)  # fmt: skip
def test_what_is_no_media_file_is_refused(data: bytes) -> None:
    with pytest.raises(MediaInvalid):
        read_media(data)


def test_boxes_are_followed_within_bounds() -> None:
    start = box(b"ftyp", b"isom\0\0\0\0")
    large = b"\0\0\0\1mdat" + (16 + 5).to_bytes(8, "big") + bytes(5)
    assert read_media(start + large).media.extension == "mp4"
    assert read_media(start + b"\0\0\0\0mdat" + bytes(50)).media.extension == "mp4"
    for broken in (b"\0\0\0\3mdat", b"\0\0\0\1mdat", b"\0\0\0\1mdat" + bytes(8), large[:-1]):
        with pytest.raises(MediaInvalid):
            read_media(start + broken)


def test_extensions_and_types_are_different() -> None:
    assert len({each.content_type for each in ALL}) == len({each.extension for each in ALL}) == len(ALL)


@given(st.binary(max_size=200), st.sampled_from([b"", *(data[:20] for data in OTHERS.values()), image("webp")[:20]]))
def test_no_bytes_raise_another_error(data: bytes, start: bytes) -> None:
    recognize(start + data)
    with suppress(MediaInvalid):
        read_media(start + data)
