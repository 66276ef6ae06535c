import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
import requests
from PIL import Image

from ops.simulator.draw import ImageSpec, render, size_of
from tests.support.drawing import DrawBase64, DrawImage

Start = Callable[..., Any]


def drawn(prompt: str = "a cat", references: tuple[bytes | str | None, ...] = (), *, watermark: bool = False) -> bytes:
    return render(ImageSpec(prompt, 640, 480, watermark, ()), references, "job-1")


def pixels(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return image.convert("RGB")


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    red, green, blue = colour
    return sum(1 for r, g, b in image.get_flattened_data() if abs(r - red) + abs(g - green) + abs(b - blue) < 30)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("ratio", "resolution", "reference", "size"),
    [
        ("16:9", "1k", None, (1024, 576)),
        ("9:16", "1k", None, (576, 1024)),
        ("1:1", "2k", None, (2048, 2048)),
        ("4:3", "1k", None, (1024, 768)),
        ("3:4", "2k", None, (1536, 2048)),
        ("3:2", "1k", None, (1024, 683)),
        ("2:3", "1k", None, (683, 1024)),
        ("21:9", "1k", None, (1024, 439)),
        ("auto", "1k", None, (1024, 1024)),
        ("auto", "1k", (600, 300), (1024, 512)),
        ("auto", "2k", (300, 750), (819, 2048)),
        ("1:1", "1k", (600, 300), (1024, 1024)),
    ],
)
def test_a_resolution_and_ratio_give_the_documented_size(
    ratio: str, resolution: str, reference: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    assert size_of(ratio, resolution, reference) == size


@pytest.mark.parametrize(
    ("model", "params", "size"),
    [
        ("kirin_v2_1_reference2image", {}, (1024, 576)),
        ("kirin_image_omni", {"prompt": "a cat"}, (1024, 1024)),
        ("kirin_image_omni", {"prompt": "a cat", "aspect_ratio": "9:16", "resolution": "2k"}, (1152, 2048)),
    ],
)
def test_a_result_has_the_requested_size(
    start: Start, model: str, params: dict[str, Any], size: tuple[int, int]
) -> None:
    simulator = start()
    if model == "kirin_v2_1_reference2image":
        params = {"subject_image_list": [{"subject_image": "https://example.com/a.png"}]}
    simulator.post({**params, "external_task_id": "a"}, model=model)
    url = simulator.look("a").json()["output"][0]["content"][0]["url"]
    with Image.open(io.BytesIO(requests.get(url, timeout=5).content)) as image:
        assert (image.format, image.size) == ("PNG", size)
        image.load()


def test_a_base64_reference_is_in_the_result(start: Start, image64: DrawBase64) -> None:
    simulator = start()
    simulator.submit("a", image_list=[{"image": image64(600, 300, "PNG", "magenta")}])
    url = simulator.look("a").json()["output"][0]["content"][0]["url"]
    first, again = (requests.get(url, timeout=5).content for _ in range(2))
    assert first == again
    result = pixels(first)
    assert result.size == (1024, 512)
    assert count(result, (255, 0, 255)) > 5000


@pytest.mark.slow
def test_drawing_is_deterministic_and_labels_differ() -> None:
    assert drawn() == drawn()
    spec = ImageSpec("a cat", 640, 480, watermark=False, references=())
    corners = {pixels(render(spec, (), f"job-{number}")).getpixel((639, 240)) for number in range(20)}
    assert len(corners) > 10


@pytest.mark.slow
def test_images_of_different_prompts_differ_in_their_text() -> None:
    # Text is dark on a light background: dark pixels where there is text, hardly any without.
    cat, story = pixels(drawn("a cat")), pixels(drawn("a cat on a mat, in a hat, with a bat " * 8))
    assert count(cat, (24, 24, 28)) > 500
    assert count(story, (250, 249, 245)) > 4 * count(cat, (250, 249, 245))


@pytest.mark.parametrize(
    "prompt", ["", "x" * 2500, "word " * 500, "画一只猫", "line\nline\n\nline", "\x00\u202e\ud83d\ude00"]
)
@pytest.mark.slow
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert pixels(drawn(prompt)).size == (640, 480)


def test_characters_without_a_glyph_differ() -> None:
    assert drawn("画一只猫") != drawn("画一只狗")


def test_a_watermark_is_visible() -> None:
    assert drawn(watermark=True) != drawn(watermark=False)


def test_references_of_every_kind_are_drawn_into_the_result(image: DrawImage) -> None:
    both = pixels(drawn(references=(image(300, 300, "PNG", "lime"), image(300, 300, "JPEG", "magenta"))))
    assert count(both, (0, 255, 0)) > 3000
    assert count(both, (255, 0, 255)) > 3000
    # References that cannot be drawn get a frame: URLs, deleted ones, broken ones, ones with too many pixels.
    bomb = base64.b64decode("iVBORw0KGgoAAAANSUhEUgABhqAAAYagCAIAAAA=")
    framed = pixels(drawn(references=("https://example.com/boat.png", None, b"\x89PNG\r\n\x1a\njunk", bomb)))
    assert count(framed, (70, 72, 80)) > 4 * 3000
