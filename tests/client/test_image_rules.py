"""The rules for reference images: the same as the service's."""

import time
from base64 import b64encode
from dataclasses import replace

import pytest

from boomerang_client.image_rules import MAX_BYTES, Header, problem_of, read_header
from schemas.images import MAX_BYTES as SERVICES_MAX_BYTES
from schemas.images import image_problem
from tests.support.drawing import camera_jpeg, drawn, png_header, png_with_preview
from tests.support.hostile_images import HOSTILE


@pytest.mark.parametrize(
    ("data", "header"),
    [
        pytest.param(drawn(), Header("png", 400, 300), id="png"),
        pytest.param(drawn(kind="JPEG"), Header("jpeg", 400, 300), id="jpeg"),
        pytest.param(drawn(kind="JPEG", progressive=True), Header("jpeg", 400, 300), id="progressive"),
        pytest.param(drawn(kind="JPEG", exif=b"Exif\0\0" + b"\xff\xc0" * 40), Header("jpeg", 400, 300), id="exif"),
        pytest.param(drawn(kind="JPEG", comment=b"x" * 500), Header("jpeg", 400, 300), id="comment"),
        pytest.param(drawn()[:20], None, id="png cut"),
        pytest.param(drawn(kind="JPEG")[:50], None, id="jpeg cut"),
        pytest.param(b"\xff\xd8\xff\xda" + bytes(50), None, id="pixels first"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_headers_give_format_and_size(data: bytes, header: Header | None) -> None:
    found = read_header(data)
    assert (found and replace(found, whole=True)) == header


@pytest.mark.parametrize(("data", "says"), HOSTILE)
@pytest.mark.slow
def test_a_hostile_file_takes_little_time(data: bytes, says: str) -> None:
    began = time.process_time()

    assert problem_of(data) is not None
    assert time.process_time() - began < 1


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


RULES = [
    pytest.param(drawn(), None, id="png"),
    pytest.param(drawn(kind="JPEG"), None, id="jpeg"),
    pytest.param(drawn(300, 300), None, id="smallest"),
    pytest.param(drawn(750, 300), None, id="widest"),
    pytest.param(drawn(300, 751), "ratio", id="too tall"),
    pytest.param(drawn(400, 299), "299 px; each side needs at least 300", id="too small"),
    pytest.param(drawn() + b" " * MAX_BYTES, "10 MB", id="too large"),
    pytest.param(drawn(kind="GIF"), "is a GIF", id="gif"),
    pytest.param(drawn(kind="WEBP"), "is a WEBP", id="webp"),
    pytest.param(drawn()[:-12], "cut short", id="cut png"),
    pytest.param(drawn(kind="JPEG")[:-2], "cut short", id="cut jpeg"),
    pytest.param(camera_jpeg(), None, id="thumbnail"),
    pytest.param(camera_jpeg() + camera_jpeg()[:9000], None, id="thumbnail, and half an image behind"),
    pytest.param(half(camera_jpeg()), "cut short", id="thumbnail, cut"),
    pytest.param(half(camera_jpeg(progressive=True)), "cut short", id="thumbnail, progressive, cut"),
    pytest.param(png_with_preview(), None, id="preview"),
    pytest.param(half(png_with_preview()), "cut short", id="preview, cut"),
    pytest.param(drawn()[:20], "header cannot be read", id="only the beginning"),
    pytest.param(b"what", "is not an image", id="text"),
    pytest.param(png_header(0, 300), "header cannot be read", id="no width"),
]


@pytest.mark.parametrize(("data", "says"), RULES)
def test_the_rules_are_those_of_the_service(data: bytes, says: str | None) -> None:
    problem = problem_of(data)
    assert problem is says is None or says in problem
    theirs = image_problem(b64encode(data).decode())
    assert (theirs is None) is (problem is None)
    assert MAX_BYTES == SERVICES_MAX_BYTES
