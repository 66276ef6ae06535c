"""Validators whose messages name the value and say what is allowed.

They are based on marshmallow's own, so that limits, options and patterns also appear in the OpenAPI document.
"""

import re
from typing import Any

from marshmallow import ValidationError, validate

from schemas.error_text import quoted
from schemas.requests.messages import coded


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
            raise ValidationError(coded(text, self.code))
        return value


class Between(validate.Range):
    def __init__(self, minimum: int, maximum: int, code: str | None = None) -> None:
        self.code = code
        super().__init__(min=minimum, max=maximum)

    def __call__(self, value: Any) -> Any:
        if not self.min <= value <= self.max:
            text = f"must be from {self.min} to {self.max}, not {quoted(value)}"
            raise ValidationError(coded(text, self.code))
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
