"""What is wrong with a form, by field."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from schemas.requests.messages import paths
from webhook.http.problems import ProblemError


def errors_of(error: ValidationError | ProblemError) -> dict[str, str]:
    """Return what is wrong, by the field that a form has: an error in a part of its value is an error of the field."""
    found: Any = paths(error.messages) if isinstance(error, ValidationError) else error.errors
    by_field: dict[str, list[str]] = {}
    for path, texts in found.items() if isinstance(found, Mapping) else ():
        by_field.setdefault(path.partition(".")[0], []).extend(map(str, texts))
    return {name: "; ".join(dict.fromkeys(texts)) for name, texts in by_field.items()}


def all_errors(error: ValidationError | ProblemError) -> str:
    """Return what is wrong as one text, for a message: each field with its errors."""
    return "; ".join(f"{name} {text}" for name, text in errors_of(error).items())
