"""Parameters of all models, and the registry of models.

Each model is a class in its own file in `schemas/requests/models/`.
"""

from functools import cache
from typing import Any

from marshmallow import validate

from schemas.requests.fields import CallbackUrl, Flag, Item, Prompt, Text, Whole
from schemas.requests.producer_texts import Labels, Metadata
from schemas.requests.strict_schema import StrictSchema
from schemas.requests.validators import Between, Characters, Options, Pattern

PROMPT_MISSING, PROMPT_TOO_LONG, COUNT_OUT_OF_RANGE = "002016001", "002016002", "002016003"
MAX_PROMPT = 2500
PRIORITIES = ("high", "normal", "low")
#: Seconds: thirty days.
LONGEST_EXPIRY = 30 * 24 * 3600

#: A job's id. It has no `~`: attempt k of a job has the id `<id>~k` at the provider.
EXTERNAL_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"

RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
"""Ratios that all models support. A model may support more."""

MODELS: dict[str, type["RequestSchema"]] = {}
"""Model name -> schema class."""


class ModelName(Text):
    """The name of a model, the only value that its schema accepts."""

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
    """Make the field for a prompt: at most 2,500 characters on both pages."""
    return Prompt(validate=Characters(MAX_PROMPT, PROMPT_TOO_LONG), **options)


def aspect_ratio(options: tuple[str, ...], default: str) -> Text:
    return Text(
        validate=Options(options),
        metadata={"description": f"Width:height of the generated image. Default: {default}.", "example": options[0]},
    )


class RequestSchema(StrictSchema):
    """Parameters of both pages, and some that the provider does not get: labels, metadata, priority, expires_in."""

    model: Text

    n = Whole(
        validate=Between(1, 9, COUNT_OUT_OF_RANGE),
        metadata={"description": "Number of images to generate. Default: 1.", "example": 1},
    )
    watermark_info = Item(
        WatermarkInfo,
        metadata={"description": "Whether to generate a watermarked result, too. Custom watermarks are not supported."},
    )
    callback_url = CallbackUrl(
        metadata={
            "description": "URL that the service notifies when the job ends, if it was begun: http(s), a public host, "
            "port 80 or 443 unless the operator allows others, no credentials.",
            "example": "https://shop.example.com/hooks/images",
        }
    )
    external_task_id = Text(
        validate=Pattern(
            EXTERNAL_ID,
            "must begin with a letter or digit and have at most 128 of A-Z a-z 0-9 . _ : - "
            '("~" is reserved for the numbers of attempts)',
        ),
        metadata={
            "description": "Your id for the job, unique among your jobs. The same request again makes no second job.",
            "example": "order-4711.front",
        },
    )
    labels = Labels(
        metadata={
            "description": "Your own labels of the job. The provider does not get them.",
            "example": {"shop": "berlin"},
        }
    )
    metadata = Metadata(
        metadata={
            "description": "Any texts of yours beside the job, such as the other columns of its row. They come back "
            f"with `include=request`; nothing selects by them. At most {Metadata.COUNT} texts, {Metadata.TOTAL:,} "
            "characters together. The provider does not get them.",
            "example": {"Title": "Coffee cup"},
        }
    )
    priority = Text(
        validate=Options(PRIORITIES),
        metadata={
            "description": "Higher classes are always submitted first. Default: the batch's priority, or normal.",
            "example": "normal",
        },
    )
    expires_in = Whole(
        validate=Between(1, LONGEST_EXPIRY),
        metadata={
            "description": "Seconds within which the job must be submitted. Otherwise it expires, unpaid.",
            "example": 3600,
        },
    )


def register(schema: type[RequestSchema]) -> type[RequestSchema]:
    """Register a model under the name in its `model` field (class decorator)."""
    field = schema._declared_fields["model"]  # noqa: SLF001 - marshmallow has no public way to a class's fields
    if not isinstance(field, ModelName) or field.value in MODELS:
        raise TypeError(f"{schema.__name__} needs a field `model` with a ModelName that no other model has")
    MODELS[field.value] = schema
    return schema


@cache
def has_parameter(model: str, name: str) -> bool:
    """Return whether the model's schema has the parameter. One that it lacks may have any value."""
    return model in MODELS and name in MODELS[model]().fields
