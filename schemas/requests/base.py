"""What every model's request has in common, and the registry of models.

A model is one class, in one file of `schemas/requests/models/`.
"""

from typing import Any

from marshmallow import validate

from schemas.requests.fields import (
    Between,
    Characters,
    Flag,
    Item,
    Labels,
    Options,
    Pattern,
    Prompt,
    StrictSchema,
    Text,
    Url,
    Whole,
)  # fmt: skip

PROMPT_MISSING, PROMPT_TOO_LONG, COUNT_OUT_OF_RANGE = "002016001", "002016002", "002016003"
MAX_PROMPT = 2500
PRIORITIES = ("high", "normal", "low")
#: Seconds: thirty days.
LONGEST_EXPIRY = 30 * 24 * 3600

#: A job's id. `~` is not in it: attempt k of a job goes out as `<id>~k`.
EXTERNAL_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"

RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
"""The ratios that every model knows; a model may know more."""

MODELS: dict[str, type["RequestSchema"]] = {}
"""Model name -> schema class."""


class ModelName(Text):
    """The model's own name, the one value that its schema takes."""

    def __init__(self, value: str) -> None:
        self.value = value
        super().__init__(
            required=True, validate=validate.OneOf([value]), metadata={"description": "Model ID.", "example": value}
        )


class WatermarkInfo(StrictSchema):
    error_messages = {"type": 'must be an object {"enabled": true} or {"enabled": false}'}  # noqa: RUF012 - marshmallow's own form

    enabled = Flag(
        required=True,
        metadata={"description": "true: also generate a watermarked result. false: do not.", "example": False},
    )


def prompt(**options: Any) -> Prompt:
    """At most 2,500 characters on both pages; whether it must be there is the model's."""
    return Prompt(validate=Characters(MAX_PROMPT, PROMPT_TOO_LONG), **options)


def aspect_ratio(options: tuple[str, ...], default: str) -> Text:
    return Text(
        validate=Options(options),
        metadata={"description": f"Width:height of the generated image. Default: {default}.", "example": options[0]},
    )


class RequestSchema(StrictSchema):
    """The members that both pages share, and `labels`, `priority` and `expires_in`, which are ours and not sent on."""

    model: Text

    n = Whole(
        validate=Between(1, 9, COUNT_OUT_OF_RANGE),
        metadata={"description": "Number of images to generate. Default: 1.", "example": 1},
    )
    watermark_info = Item(
        WatermarkInfo,
        metadata={"description": "Whether to generate a watermarked result too. Custom watermarks are not supported."},
    )
    callback_url = Url(
        metadata={
            "description": "Where we notify you when the job ends: http(s), a public host, no credentials.",
            "example": "https://shop.example.com/hooks/images",
        }
    )
    external_task_id = Text(
        validate=Pattern(
            EXTERNAL_ID,
            "must begin with a letter or digit and have at most 128 of A-Z a-z 0-9 . _ : - "
            '("~" is reserved: we append it to number attempts)',
        ),
        metadata={
            "description": "Your id for the job, unique among yours. The same request sent again makes no second job.",
            "example": "order-4711.front",
        },
    )
    labels = Labels(
        metadata={
            "description": "Your own marks on the job, shown with it and never sent on.",
            "example": {"shop": "berlin"},
        }
    )
    priority = Text(
        validate=Options(PRIORITIES),
        metadata={
            "description": "Jobs of a higher class always go first. Default: the batch's, or normal.",
            "example": "normal",
        },
    )
    expires_in = Whole(
        validate=Between(1, LONGEST_EXPIRY),
        metadata={
            "description": "Seconds within which the job must be begun; otherwise it ends as expired, unpaid.",
            "example": 3600,
        },
    )


def register(schema: type[RequestSchema]) -> type[RequestSchema]:
    """Class decorator: makes the model known under the name in its `model` field."""
    field = schema._declared_fields["model"]  # noqa: SLF001 - marshmallow has no public way to a class's fields
    if not isinstance(field, ModelName) or field.value in MODELS:
        raise TypeError(f"{schema.__name__} needs a ModelName that no other model has")
    MODELS[field.value] = schema
    return schema
