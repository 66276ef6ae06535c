"""Decode stored values. What this service cannot have written raises `RecordDamaged`, which names the record."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobs.errors import RecordDamaged
from jobs.fields import is_text, shown

#: Errors that decoding stored text can raise.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise errors of a block that decodes `what` (such as `job fox`) as `RecordDamaged`."""
    try:
        yield
    except UNREADABLE as error:
        raise RecordDamaged(what, why(error)) from error


def why(error: BaseException) -> str:
    """Describe an error for people."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return f"{type(error).__name__}: {shown(str(error))}"


def read_labels(text: str) -> dict[str, str]:
    """Decode stored labels. Raises one of `UNREADABLE`."""
    if not is_text(text):
        raise ValueError("its labels are not UTF-8")
    return dict(texts(json.loads(text)))


def texts(given: Any) -> Mapping[str, str]:
    """Return the object if all its values are text; raise `ValueError` otherwise."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("an object of texts was expected")
    return given
