"""Fields that accept a JSON value unchanged, or refuse it.

They convert nothing, so that the provider gets what the producer sent. They are based on marshmallow's own fields and
validators, so that limits, options and patterns also appear in the OpenAPI document.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from marshmallow import RAISE, Schema, ValidationError, fields, pre_load, validate

from schemas.callback_rules import CALLBACK_RULES
from schemas.error_text import clean, encoding_problem, nearest, quoted
from schemas.images import image_problem
from schemas.invisible import is_blank
from schemas.urls import MAX_URL, url_problem

#: Members of an object beyond those that its schema knows. With more it is refused before its members are read.
_MOST_UNKNOWN = 20
#: Unknown names of an object for which a similar one is looked up: each look-up takes longer than to read a request.
_HINTS = 3

#: The rules of both pages for the OpenAPI document. `schemas.images` enforces them.
IMAGE_RULES = (
    "URL, raw base64 (no data: prefix), or reference (image:sha256:…, see POST /v1/images) of a .jpg, .jpeg or .png: "
    "at most 10 MB, at least 300 px per side, ratio 1:2.5 to 2.5:1"
)


class Message(str):
    """An error message with the provider's code for the error."""

    __slots__ = ("code",)

    code: str

    def __new__(cls, text: str, code: str) -> Self:
        message = super().__new__(cls, text)
        message.code = code
        return message


def _message(text: str, code: str | None) -> str:
    return Message(text, code) if code else text


class StrictSchema(Schema):
    """An object that refuses unknown members, and suggests the most similar known name."""

    class Meta:
        unknown = RAISE

    @pre_load
    def refuse_too_many_members(self, data: Any, **_: Any) -> Any:
        """Refuse an object with far more members than the schema knows, before marshmallow makes an error of each."""
        if self._has_too_many(data):
            raise ValidationError(f"has {len(data):,} members; known are {', '.join(sorted(self.load_fields))}")
        return data

    def _has_too_many(self, data: Any) -> bool:
        return isinstance(data, Mapping) and len(data) > len(self.load_fields) + _MOST_UNKNOWN

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Say of each unknown member what was probably meant. They come last, in the order in which they were sent."""
        if not isinstance(data, Mapping) or not isinstance(error.messages, dict) or self._has_too_many(data):
            return
        known = self.load_fields
        for number, name in enumerate(name for name in data if name not in known):
            guess = nearest(str(name), known) if number < _HINTS else None
            remedy = f'did you mean "{guess}"?' if guess else f"known are {', '.join(sorted(known))}"
            error.messages.pop(name, None)
            error.messages[name] = [f"is not a known parameter; {remedy}"]


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
        return ValidationError(_message(str(error.messages[0]), self.missing_code)) if self.missing_code else error

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if self.required and is_blank(text):
            raise ValidationError(_message("must not be blank; describe the image", self.missing_code))
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


class Options(validate.OneOf):
    def __call__(self, value: Any) -> Any:
        if value not in self.choices:
            raise ValidationError(f"must be one of {', '.join(self.choices)}, not {quoted(value)}")
        return value


class Characters(validate.Length):
    """A limit of a text's length in characters (code points). `code`: the provider's code for a longer text."""

    def __init__(self, maximum: int, code: str | None = None) -> None:
        self.code = code
        super().__init__(max=maximum)

    def __call__(self, value: Any) -> Any:
        if self.max is not None and len(value) > self.max:
            text = f"is {len(value):,} characters long; at most {self.max:,} are allowed: shorten it"
            raise ValidationError(_message(text, self.code))
        return value


class Between(validate.Range):
    def __init__(self, minimum: int, maximum: int, code: str | None = None) -> None:
        self.code = code
        super().__init__(min=minimum, max=maximum)

    def __call__(self, value: Any) -> Any:
        if not self.min <= value <= self.max:
            text = f"must be from {self.min} to {self.max}, not {quoted(value)}"
            raise ValidationError(_message(text, self.code))
        return value


class Pattern(validate.Regexp):
    """A pattern for the whole text; `$` alone would allow a final line break. `rule` describes it in words."""

    def __init__(self, pattern: str, rule: str) -> None:
        self.rule = rule
        super().__init__(pattern)

    def __call__(self, value: Any) -> Any:
        if not re.fullmatch(self.regex, value):
            raise ValidationError(f"{self.rule}; not {quoted(value)}")
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


class Labels(Strict, fields.Dict):
    """A producer's own labels of a job: short texts by name."""

    COUNT, VALUE = 16, 256
    NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(validate=validate.Length(max=self.VALUE)), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError(f"must be an object of texts, not {quoted(value)}")
        if len(value) > self.COUNT:
            raise ValidationError(f"has {len(value)} entries; at most {self.COUNT} are allowed: remove some")
        problems = {
            clean(str(name)): [problem] for name, text in value.items() if (problem := self._problem(name, text))
        }
        if problems:
            raise ValidationError(problems)
        return dict(value)

    def _problem(self, name: object, text: object) -> str | None:
        if not isinstance(name, str) or not self.NAME.fullmatch(name):
            return "is not a valid label name; use 1 to 64 of A-Z a-z 0-9 _ . -"
        if type(text) is not str:
            return f"must be a string, not {quoted(text)}"
        if len(text) > self.VALUE:
            return f"is {len(text):,} characters long; at most {self.VALUE} are allowed: shorten it"
        return encoding_problem(text)


class Metadata(Strict, fields.Dict):
    """A producer's own texts beside a job, by any name, such as the headings of a table: nothing selects by them."""

    COUNT, NAME, TOTAL = 64, 128, 8192

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keys=fields.String(), values=fields.String(), **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValidationError(f"must be an object of texts, not {quoted(value)}")
        if len(value) > self.COUNT:
            raise ValidationError(f"has {len(value):,} entries; at most {self.COUNT} are allowed: remove some")
        problems = {
            clean(str(name)): [problem] for name, text in value.items() if (problem := self._problem(name, text))
        }
        if problems:
            raise ValidationError(problems)
        total = sum(len(name) + len(text) for name, text in value.items())
        if total > self.TOTAL:
            raise ValidationError(f"has {total:,} characters; at most {self.TOTAL:,} are allowed: shorten it")
        return dict(value)

    def _problem(self, name: object, text: object) -> str | None:
        if not isinstance(name, str) or not 0 < len(name) <= self.NAME or not name.isprintable():
            return f"is not a valid name; use 1 to {self.NAME} printable characters"
        if type(text) is not str:
            return f"must be a string, not {quoted(text)}"
        return encoding_problem(name) or encoding_problem(text)


def paths(messages: Any, path: Sequence[str] = ()) -> dict[str, list[str]]:
    """Flatten marshmallow's nested messages to `{"image_list.0.image": [...]}`.

    Messages on an object as a whole are under the object's own path.
    """
    if not isinstance(messages, Mapping):
        return {".".join(path) or "request": list(messages) if isinstance(messages, list) else [messages]}
    flat: dict[str, list[str]] = {}
    for key, value in messages.items():
        step = () if key == "_schema" else (clean(str(key)),)
        for name, texts in paths(value, (*path, *step)).items():
            flat.setdefault(name, []).extend(texts)
    return flat
