"""Requests name images, and the bytes of an image are replaced with a reference."""

from base64 import b64decode
from hashlib import sha256
from typing import Any

import pytest

from schemas import MODELS, RequestInvalid, checked_in, load_request, references, with_images, without_images
from schemas.images import REFERENCE, ImageFile, ImageInvalid, read_image
from tests.support.drawing import DrawBase64

HASH = "0" * 64
URL = "https://example.com/a.png"


def omni(*images: str, **more: Any) -> dict[str, Any]:
    listed = {"image_list": [{"image": image} for image in images]} if images else {}
    return {"model": "kirin_image_omni", "prompt": "a fox", **listed, **more}


def test_an_image_is_stored_and_replaced_with_its_reference(base64_image: DrawBase64) -> None:
    image = base64_image(320, 300)
    stored: list[ImageFile] = []
    request = checked_in(load_request(omni(image, URL, image)), stored.append)
    reference = REFERENCE + sha256(b64decode(image)).hexdigest()
    assert [each["image"] for each in request.params["image_list"]] == [reference, URL, reference]
    assert {(each.hash, each.width, each.height, each.format, each.data) for each in stored} == {
        (reference.removeprefix(REFERENCE), 320, 300, "png", b64decode(image))
    }
    assert request.text() == checked_in(load_request(omni(reference, URL, reference)), stored.append).text()
    assert references(request) == {
        "image_list.0.image": reference.removeprefix(REFERENCE),
        "image_list.2.image": reference.removeprefix(REFERENCE),
    }


def test_references_are_found_in_every_field_of_every_model(base64_image: DrawBase64) -> None:
    other = {
        "model": "kirin_v2_1_reference2image",
        "subject_image_list": [{"subject_image": REFERENCE + HASH}],
        "scene_image": REFERENCE + HASH,
        "style_image": REFERENCE + HASH,
    }
    found = {data["model"]: set(references(load_request(data))) for data in (omni(REFERENCE + HASH), other)}
    assert found == {
        "kirin_image_omni": {"image_list.0.image"},
        "kirin_v2_1_reference2image": {"subject_image_list.0.subject_image", "scene_image", "style_image"},
    }
    assert set(found) == set(MODELS)


def test_a_request_without_images_is_returned_unchanged() -> None:
    request = load_request(omni(prompt=REFERENCE + HASH, labels={"of": REFERENCE + HASH}))
    assert checked_in(request, pytest.fail) is request  # type: ignore[arg-type]
    assert references(request) == {}


def test_the_original_request_is_not_modified(base64_image: DrawBase64) -> None:
    data = omni(base64_image())
    request = load_request(data)
    with_images(request, lambda path, value: path)
    assert request.params["image_list"] == data["image_list"]


def test_the_error_names_each_field_whose_image_is_absent() -> None:
    request = load_request(omni(REFERENCE + HASH, URL, REFERENCE + "1" * 64))
    refusal = without_images(request, lambda digests: {digest for digest in digests if digest == HASH})
    assert isinstance(refusal, RequestInvalid)
    assert list(refusal.errors) == ["image_list.0.image"]
    assert list(without_images(request, lambda _: set()).errors) == ["request"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (REFERENCE + HASH, None),
        (REFERENCE + HASH[:-1], "POST /v1/images"),
        (REFERENCE + HASH + "0", "POST /v1/images"),
        (REFERENCE + "A" * 64, "POST /v1/images"),
        (" " + REFERENCE + HASH, "is neither"),
        ("image:md5:" + HASH, "POST /v1/images"),
    ],
)
def test_only_a_complete_hash_is_a_reference(value: str, problem: str | None) -> None:
    if problem is None:
        assert references(load_request(omni(value)))
        return
    with pytest.raises(RequestInvalid, match=problem):
        load_request(omni(value))


def test_an_uploaded_file_must_keep_the_same_rules(base64_image: DrawBase64) -> None:
    assert read_image(b64decode(base64_image(300, 400, "JPEG"))).format == "jpeg"
    with pytest.raises(ImageInvalid, match="at least 300 px"):
        read_image(b64decode(base64_image(299, 300)))
