"""kirin_v2_1_reference2image: an image from one to four subjects and optionally a scene and a style."""

from schemas.requests.base import RATIOS, ModelName, RequestSchema, aspect_ratio, prompt, register
from schemas.requests.fields import IMAGE_RULES, Entries, Image, Item
from schemas.requests.strict_schema import StrictSchema


class SubjectImage(StrictSchema):
    error_messages = {"type": 'must be an object {"subject_image": "image URL, raw base64 or reference"}'}  # noqa: RUF012 - marshmallow's own form

    subject_image = Image(
        required=True, metadata={"description": IMAGE_RULES, "example": "https://example.com/subject.png"}
    )


@register
class KirinV21Reference2Image(RequestSchema):
    model = ModelName("kirin_v2_1_reference2image")
    prompt = prompt(metadata={"description": "Positive text prompt.", "example": "a cat on a rocket"})
    subject_image_list = Entries(
        Item(SubjectImage),
        minimum=1,
        maximum=4,
        empty='give 1 to 4 objects {"subject_image": "image URL, raw base64 or reference"}',
        required=True,
        metadata={"description": "1 to 4 subjects. The provider does not crop them: upload them cropped."},
    )
    scene_image = Image(
        metadata={"description": f"Scene reference. {IMAGE_RULES}", "example": "https://example.com/scene.jpg"}
    )
    style_image = Image(
        metadata={"description": f"Style reference. {IMAGE_RULES}", "example": "https://example.com/style.jpg"}
    )
    aspect_ratio = aspect_ratio(RATIOS, default="16:9")
