"""kirin_image_omni: a prompt that may refer to up to ten reference images by number."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from marshmallow import ValidationError, validates_schema

from schemas.error_text import quoted
from schemas.requests.base import PROMPT_MISSING, RATIOS, ModelName, RequestSchema, aspect_ratio, prompt, register
from schemas.requests.fields import IMAGE_RULES, Entries, Image, Item, Text
from schemas.requests.placeholders import PLACEHOLDER, near_misses
from schemas.requests.strict_schema import StrictSchema
from schemas.requests.validators import Options

_NAMED = 10


class ReferenceImage(StrictSchema):
    error_messages = {"type": 'must be an object {"image": "image URL, raw base64 or reference"}'}  # noqa: RUF012 - marshmallow's own form

    image = Image(
        required=True,
        metadata={"description": IMAGE_RULES, "example": "https://example.com/reference.png"},
    )


@register
class KirinImageOmni(RequestSchema):
    model = ModelName("kirin_image_omni")
    prompt = prompt(
        required=True,
        missing_code=PROMPT_MISSING,
        metadata={
            "description": "Positive and negative descriptions. <<<image_N>>> refers to the N-th entry of image_list.",
            "example": "a boomerang over the sea at dawn",
        },
    )
    image_list = Entries(
        Item(ReferenceImage),
        minimum=1,
        maximum=10,
        empty="give 1 to 10 images, or leave image_list out",
        metadata={"description": "At most 10 reference images."},
    )
    resolution = Text(
        validate=Options(("1k", "2k")), metadata={"description": "Image resolution. Default: 1k.", "example": "1k"}
    )
    aspect_ratio = aspect_ratio((*RATIOS, "auto"), default="auto")

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _placeholders(self, data: Mapping[str, Any], original: Mapping[str, Any], **_: Any) -> None:
        text = data.get("prompt", "")
        if wrong := [f"{quoted(found)} (write {right})" for found, right in islice(near_misses(text), _NAMED)]:
            raise ValidationError(
                f"has what looks like a reference to an image, but is not one: {', '.join(wrong)}", field_name="prompt"
            )
        if "<<<" not in text:
            return
        # Count the entries as sent: an invalid one has its own message, and still counts.
        given = original.get("image_list")
        images = len(given) if isinstance(given, list) else 0
        numbers = dict.fromkeys(found.lstrip("0") or "0" for found in PLACEHOLDER.findall(text))
        absent = [number for number in numbers if not _within(number, images)]
        if absent:
            names = ", ".join(f"<<<image_{number[:8]}>>>" for number in absent[:_NAMED])
            raise ValidationError(
                f"refers to {names}, but image_list has {images} {'image' if images == 1 else 'images'}; "
                "number them from 1, or add the images",
                field_name="prompt",
            )


def _within(number: str, images: int) -> bool:
    return len(number) <= len(str(images)) and 1 <= int(number) <= images
