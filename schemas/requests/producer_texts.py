"""Fields for the texts that a producer attaches to a job: labels, which select, and metadata, which does not."""

import re
from typing import Any

from marshmallow import ValidationError, fields, validate

from schemas.error_text import clean, encoding_problem, quoted
from schemas.requests.fields import Strict


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
