"""Fields that accept a JSON value unchanged, or refuse it.

They convert nothing, so that the provider gets what the producer sent.
"""

from typing import Any

from marshmallow import ValidationError, fields, validate

from schemas.callback_rules import CALLBACK_RULES
from schemas.error_text import encoding_problem, quoted
from schemas.images import image_problem
from schemas.invisible import is_blank
from schemas.requests.messages import coded
from schemas.urls import MAX_URL, url_problem

#: The rules of both pages for the OpenAPI document. `schemas.images` enforces them.
IMAGE_RULES = (
    "URL, raw base64 (no data: prefix), or reference (image:sha256:…, see POST /v1/images) of a .jpg, .jpeg or .png: "
    "at most 10 MB, at least 300 px per side, ratio 1:2.5 to 2.5:1"
)


_ABSENT: dict[str, str | list[Any] | dict[Any, Any]] = {
    "required": "is required; add it",
    "null": "must not be null; give a value or leave it out",
}


class Strict(fields.Field[Any]):
    """A mixin for fields: error messages for missing values that say what to do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, error_messages=_ABSENT, **kwargs)


class Text(Strict, fields.String):
    """A JSON string that can be stored and encoded."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if type(value) is not str:
            raise ValidationError(f"must be a string, not {quoted(value)}")
        problem = encoding_problem(value)
        if problem:
            raise ValidationError(problem)
        return value


class Prompt(Text):
    """A prompt. `missing_code` is the provider's code for a required prompt that is missing."""

    def __init__(self, *, missing_code: str | None = None, **kwargs: Any) -> None:
        self.missing_code = missing_code
        super().__init__(**kwargs)

    def make_error(self, key: str, **kwargs: Any) -> ValidationError:
        error = super().make_error(key, **kwargs)
        return ValidationError(coded(str(error.messages[0]), self.missing_code)) if self.missing_code else error

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if self.required and is_blank(text):
            raise ValidationError(coded("must not be blank; describe the image", self.missing_code))
        return text


class Whole(Strict, fields.Integer):
    """A JSON integer: not true, not "3", not 2.0."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if type(value) is not int:
            raise ValidationError(f"must be an integer, not {quoted(value)}; send a JSON number without quotes")
        return value


class Flag(Strict, fields.Boolean):
    """A JSON boolean: not 1, not "true"."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError(f"must be true or false, not {quoted(value)}")
        return value


class Url(Text):
    """An http(s) URL whose host looks public."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("validate", validate.Length(max=MAX_URL))
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        problem = url_problem(text)
        if problem:
            raise ValidationError(problem)
        return text


class CallbackUrl(Url):
    """A URL that the service may notify (CALLBACK_RULES)."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if problem := CALLBACK_RULES.get().problem(text):
            raise ValidationError(problem)
        return text


class Image(Strict, fields.String):
    """An image URL, raw base64 without a prefix, or the reference of a stored image."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if type(value) is not str:
            raise ValidationError(f"must be a string (image URL, raw base64 or reference), not {quoted(value)}")
        problem = image_problem(value)
        if problem:
            raise ValidationError(problem)
        return value


class Entries(Strict, fields.List[Any]):
    """An array of `minimum` to `maximum` entries. They are counted first, since checking images is expensive."""

    def __init__(self, inner: fields.Field[Any], *, minimum: int, maximum: int, empty: str, **kwargs: Any) -> None:
        self.minimum, self.maximum, self.empty = minimum, maximum, empty
        super().__init__(inner, validate=validate.Length(min=minimum, max=maximum), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError(f"must be an array, not {quoted(value)}")
        if len(value) < self.minimum:
            raise ValidationError(f"is empty; {self.empty}")
        if len(value) > self.maximum:
            raise ValidationError(f"has {len(value)} entries; at most {self.maximum} are allowed: remove some")
        return super()._deserialize(value, *args, **kwargs)


class Item(Strict, fields.Nested):
    """An object with its own schema."""
