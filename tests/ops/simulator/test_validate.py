import base64
import contextlib
import json
import struct
import time
import zlib
from typing import Any

import pytest

from ops.simulator.images import LONGEST_URL, MOST_BYTES, ImageInvalid, read_image
from ops.simulator.validate import Refused, read_order
from tests.support.drawing import DrawBase64
from tests.support.hostile_images import HOSTILE

R2I, OMNI = "kirin_v2_1_reference2image", "kirin_image_omni"
URL = "https://example.com/cat.png"
ONE = [{"subject_image": URL}]
MISSING, TOO_LONG, N, ILLEGAL, MALFORMED = "002016001", "002016002", "002016003", "1201", "1200"


def body(model: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"model": model, "input": [{"params": params}]}).encode()


def params_of(model: str, **params: Any) -> dict[str, Any]:
    least: dict[str, Any] = {"subject_image_list": ONE} if model == R2I else {"prompt": "a cat"}
    return {**least, **params}


def header_only_png(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size and whose data is nearly empty, like a decompression bomb."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


REFUSED = [
    # refused by both models
    *(
        pytest.param(model, params, code, field, id=f"{model[6:10]}-{name}")
        for model in (R2I, OMNI)
        for name, params, code, field in [
            ("unknown", {"promt": "x"}, ILLEGAL, "promt: unknown parameter, did you mean prompt"),
            ("duration", {"duration": 5}, ILLEGAL, "duration: unknown"),
            ("labels", {"labels": {}}, ILLEGAL, "labels: unknown"),
            ("prompt-2501", {"prompt": "é" * 2501}, TOO_LONG, "prompt"),
            ("prompt-number", {"prompt": 5}, ILLEGAL, "prompt"),
            ("prompt-null", {"prompt": None}, ILLEGAL, "prompt"),
            ("n-0", {"n": 0}, N, "n"),
            ("n-10", {"n": 10}, N, "n"),
            ("n-true", {"n": True}, N, "n"),
            ("n-text", {"n": "3"}, N, "n"),
            ("n-float", {"n": 3.0}, N, "n"),
            ("n-null", {"n": None}, N, "n"),
            ("ratio-5:4", {"aspect_ratio": "5:4"}, ILLEGAL, "aspect_ratio"),
            ("ratio-list", {"aspect_ratio": ["1:1"]}, ILLEGAL, "aspect_ratio"),
            ("watermark-bool", {"watermark_info": True}, ILLEGAL, "watermark_info"),
            ("watermark-list", {"watermark_info": [{"enabled": True}]}, ILLEGAL, "watermark_info"),
            ("watermark-empty", {"watermark_info": {}}, ILLEGAL, "watermark_info"),
            ("watermark-text", {"watermark_info": {"enabled": "true"}}, ILLEGAL, "watermark_info"),
            ("watermark-1", {"watermark_info": {"enabled": 1}}, ILLEGAL, "watermark_info"),
            ("watermark-more", {"watermark_info": {"enabled": True, "text": "x"}}, ILLEGAL, "watermark_info"),
            ("callback-ftp", {"callback_url": "ftp://example.com/"}, ILLEGAL, "callback_url"),
            ("callback-bare", {"callback_url": "example.com/x"}, ILLEGAL, "callback_url"),
            ("callback-number", {"callback_url": 1}, ILLEGAL, "callback_url"),
            ("external-empty", {"external_task_id": ""}, ILLEGAL, "external_task_id"),
            ("external-number", {"external_task_id": 7}, ILLEGAL, "external_task_id"),
            ("external-newline", {"external_task_id": "a\nb"}, ILLEGAL, "external_task_id"),
        ]
    ),
    pytest.param(R2I, {"aspect_ratio": "auto"}, ILLEGAL, "aspect_ratio", id="r2i-auto"),
    pytest.param(R2I, {"resolution": "1k"}, ILLEGAL, "resolution: unknown", id="r2i-resolution"),
    pytest.param(R2I, {"image_list": []}, ILLEGAL, "image_list: unknown", id="r2i-image_list"),
    pytest.param(R2I, {"subject_image_list": []}, ILLEGAL, "subject_image_list", id="r2i-no-subject"),
    pytest.param(R2I, {"subject_image_list": ONE * 5}, ILLEGAL, "subject_image_list", id="r2i-5-subjects"),
    pytest.param(R2I, {"subject_image_list": URL}, ILLEGAL, "subject_image_list", id="r2i-subject-text"),
    pytest.param(R2I, {"subject_image_list": [URL]}, ILLEGAL, "subject_image_list.0", id="r2i-subject-bare"),
    pytest.param(R2I, {"subject_image_list": [{"image": URL}]}, ILLEGAL, "subject_image_list.0", id="r2i-subject-key"),
    pytest.param(
        R2I,
        {"subject_image_list": [*ONE, {"subject_image": ""}]},
        ILLEGAL,
        "subject_image_list.1.subject_image",
        id="r2i-subject-empty",
    ),
    pytest.param(R2I, {"scene_image": ""}, ILLEGAL, "scene_image", id="r2i-scene-empty"),
    pytest.param(R2I, {"style_image": "not base64!"}, ILLEGAL, "style_image", id="r2i-style-junk"),
    pytest.param(OMNI, {"prompt": ""}, MISSING, "prompt", id="omni-prompt-empty"),
    pytest.param(OMNI, {"prompt": " \n"}, MISSING, "prompt", id="omni-prompt-blank"),
    pytest.param(OMNI, {"resolution": "4k"}, ILLEGAL, "resolution", id="omni-4k"),
    pytest.param(OMNI, {"resolution": "2K"}, ILLEGAL, "resolution", id="omni-2K"),
    pytest.param(OMNI, {"image_list": [{"image": URL}] * 11}, ILLEGAL, "image_list", id="omni-11-images"),
    pytest.param(OMNI, {"image_list": [{"image": ""}]}, ILLEGAL, "image_list.0.image", id="omni-image-empty"),
    pytest.param(OMNI, {"image_list": [{"image": None}]}, ILLEGAL, "image_list.0.image", id="omni-image-null"),
    pytest.param(OMNI, {"image_list": [{"url": URL}]}, ILLEGAL, "image_list.0", id="omni-image-key"),
    pytest.param(OMNI, {"prompt": "<<<image_1>>>"}, ILLEGAL, "prompt", id="omni-mention-without-images"),
    pytest.param(
        OMNI,
        {"prompt": "<<<image_1>>> <<<image_3>>>", "image_list": [{"image": URL}] * 2},
        ILLEGAL,
        "prompt",
        id="omni-mention-beyond",
    ),
    pytest.param(
        OMNI, {"prompt": "<<<image_0>>>", "image_list": [{"image": URL}]}, ILLEGAL, "prompt", id="omni-mention-0"
    ),
    pytest.param(
        OMNI,
        {"prompt": "<<<image_" + "9" * 2000 + ">>>", "image_list": [{"image": URL}]},
        ILLEGAL,
        "prompt",
        id="omni-mention-astronomic",
    ),
    pytest.param(OMNI, {"subject_image_list": ONE}, ILLEGAL, "subject_image_list: unknown", id="omni-subjects"),
    pytest.param(OMNI, {"scene_image": URL}, ILLEGAL, "scene_image: unknown", id="omni-scene"),
]


@pytest.mark.parametrize(("model", "params", "code", "field"), REFUSED)
def test_documented_violations_are_refused(model: str, params: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(Refused) as refused:
        read_order(body(model, params_of(model, **params)))
    assert refused.value.code == code
    assert refused.value.message.startswith(field)


@pytest.mark.parametrize(
    ("model", "params", "code"),
    [
        pytest.param(OMNI, {}, MISSING, id="omni-prompt"),
        pytest.param(R2I, {"prompt": "a cat"}, ILLEGAL, id="r2i-subjects"),
    ],
)
def test_missing_required_fields_are_refused(model: str, params: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused, match="is required") as refused:
        read_order(body(model, params))
    assert refused.value.code == code


RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
ACCEPTED = [
    *(pytest.param(R2I, {"aspect_ratio": ratio}, id=f"r2i-{ratio}") for ratio in RATIOS),
    *(pytest.param(OMNI, {"aspect_ratio": ratio}, id=f"omni-{ratio}") for ratio in (*RATIOS, "auto")),
    pytest.param(R2I, {"subject_image_list": ONE * 4, "scene_image": URL, "style_image": URL}, id="r2i-all-images"),
    pytest.param(R2I, {"prompt": ""}, id="r2i-prompt-empty"),
    pytest.param(R2I, {"prompt": "<<<image_9>>>"}, id="r2i-mention-means-nothing"),
    pytest.param(OMNI, {"prompt": "é" * 2500, "n": 9, "resolution": "2k"}, id="omni-limits"),
    pytest.param(OMNI, {"image_list": [{"image": URL}] * 10, "prompt": "<<<image_10>>>"}, id="omni-10-images"),
    pytest.param(OMNI, {"image_list": []}, id="omni-no-images"),
    pytest.param(OMNI, {"watermark_info": {"enabled": False}}, id="watermark-off"),
    pytest.param(OMNI, {"external_task_id": "Ä-1~2", "callback_url": "http://127.0.0.1:1/a?b=c"}, id="ours"),
]


@pytest.mark.parametrize(("model", "params"), ACCEPTED)
def test_documented_values_are_accepted(model: str, params: dict[str, Any]) -> None:
    order = read_order(body(model, params_of(model, **params)))
    assert order.model == model
    assert order.aspect_ratio == params.get("aspect_ratio", "16:9" if model == R2I else "auto")
    assert len(order.references) == (
        len(params.get("subject_image_list", ONE if model == R2I else ()))
        + len(params.get("image_list", ()))
        + ("scene_image" in params)
        + ("style_image" in params)
    )


def test_defaults_are_as_documented() -> None:
    order = read_order(body(OMNI, {"prompt": "a cat"}))
    assert (order.n, order.resolution, order.aspect_ratio, order.watermark) == (1, "1k", "auto", False)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(b"", MALFORMED, id="empty"),
        pytest.param(b"[]", MALFORMED, id="list"),
        pytest.param(b"\xff", MALFORMED, id="not-utf8"),
        pytest.param(b"[" * 100_000, MALFORMED, id="deep"),
        pytest.param(b'{"model": "kirin_image_omni", "prompt": "x", "n": NaN}', MALFORMED, id="nan"),
        pytest.param(b'{"prompt": "x"}', ILLEGAL, id="no-model"),
        pytest.param(b'{"model": "kirin_image_o2", "prompt": "x"}', ILLEGAL, id="unknown-model"),
        pytest.param(b'{"model": "kirin_image_omni", "input": []}', MALFORMED, id="no-input"),
        pytest.param(b'{"model": "kirin_image_omni", "input": [{"prompt": "x"}]}', MALFORMED, id="no-params"),
        pytest.param(
            b'{"model": "kirin_image_omni", "input": [{"params": {"prompt": "x"}}, {}]}', MALFORMED, id="two-inputs"
        ),
        pytest.param(
            b'{"model": "kirin_image_omni", "input": [{"params": {"prompt": "x"}}], "n": 1}', ILLEGAL, id="beside-input"
        ),
    ],
)
def test_a_body_of_another_shape_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_order(text)
    assert refused.value.code == code


def test_the_flat_form_is_accepted() -> None:
    assert read_order(b'{"model": "kirin_image_omni", "prompt": "a cat", "n": 2}').n == 2


def test_the_field_for_an_image_is_configurable() -> None:
    order = read_order(body(OMNI, params_of(OMNI, image_list=[{"image_url": URL}])), image_key="image_url")
    assert order.references[0].url == URL


@pytest.mark.parametrize(
    ("width", "height", "kind", "why"),
    [
        pytest.param(300, 300, "PNG", None, id="least"),
        pytest.param(300, 750, "JPEG", None, id="1:2.5"),
        pytest.param(750, 300, "PNG", None, id="2.5:1"),
        pytest.param(299, 300, "PNG", "at least 300px", id="narrow"),
        pytest.param(300, 299, "JPEG", "at least 300px", id="low"),
        pytest.param(751, 300, "PNG", "1:2.5", id="too-wide"),
        pytest.param(300, 751, "PNG", "1:2.5", id="too-high"),
        pytest.param(300, 300, "GIF", "format must be", id="gif"),
        pytest.param(300, 300, "WEBP", "format must be", id="webp"),
    ],
)
def test_an_image_is_recognized_by_its_content(
    image64: DrawBase64, width: int, height: int, kind: str, why: str | None
) -> None:
    text = image64(width, height, kind)
    if why is None:
        assert read_image(text).size == (width, height)
    else:
        with pytest.raises(ImageInvalid, match=why):
            read_image(text)


def test_a_data_url_prefix_is_refused_with_a_remedy(image64: DrawBase64) -> None:
    with pytest.raises(ImageInvalid, match="without a prefix"):
        read_image("data:image/png;base64," + image64(300, 300))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n", "cannot be read", id="only-a-magic-number"),
        pytest.param(b"\xff\xd8\xff\xe0junk", "cannot be read", id="broken-jpeg"),
        pytest.param(b"%PDF-1.7", "format must be", id="pdf"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + b"0" * (MOST_BYTES - 7), "must not exceed 10MB", id="10MB-and-a-byte"),
        pytest.param(b"0" * (MOST_BYTES + 3000), "must not exceed 10MB", id="far-beyond"),
    ],
)
def test_a_bad_file_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ImageInvalid, match=why):
        read_image(base64.b64encode(content).decode())


@pytest.mark.parametrize(("content", "_problem"), HOSTILE)
def test_a_hostile_header_takes_little_time(content: bytes, _problem: str) -> None:
    text = base64.b64encode(content).decode()
    began = time.process_time()
    with contextlib.suppress(ImageInvalid):
        read_image(text)
    assert time.process_time() - began < 1.5


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    text = base64.b64encode(header_only_png(100_000, 100_000)).decode()
    assert read_image(text).size == (100_000, 100_000)


@pytest.mark.parametrize("url", ["http://h/a.png", "HTTPS://example.com:8443/a?b#c", "https://example.com"])
def test_a_url_is_accepted_by_its_syntax(url: str) -> None:
    assert read_image(url).url == url


@pytest.mark.parametrize(
    "url", ["ftp://h/a.png", "file:///etc/passwd", "https://", "https://a b/", "http://h/" + "a" * LONGEST_URL]
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ImageInvalid, match="not a valid"):
        read_image(url)


@pytest.mark.parametrize("text", ["", "  ", "ä", "abc", "iVBORw0KGgo AAAA", None, 5, {}])
def test_text_that_is_neither_url_nor_base64_is_refused(text: object) -> None:
    with pytest.raises(ImageInvalid):
        read_image(text)
