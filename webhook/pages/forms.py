"""What is wrong with a form, by field."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from schemas.requests.messages import paths
from webhook.http.problems import ProblemError


def errors_of(error: ValidationError | ProblemError) -> dict[str, str]:
    """Return what is wrong, by field."""
    found: Any = paths(error.messages) if isinstance(error, ValidationError) else error.errors
    return {name: "; ".join(map(str, texts)) for name, texts in found.items()} if isinstance(found, Mapping) else {}
