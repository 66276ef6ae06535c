"""Reading what is stored: what this service cannot have written is told as `RecordDamaged`, with whose it is."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobs.errors import RecordDamaged
from jobs.fields import is_text, shown

#: What taking stored text apart can raise.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Around the reading of one thing, such as `job fox`. Raises `RecordDamaged` in place of what went wrong."""
    try:
        yield
    except UNREADABLE as error:
        raise RecordDamaged(what, why(error)) from error


def why(error: BaseException) -> str:
    """What went wrong, for a person."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return f"{type(error).__name__}: {shown(str(error))}"


def read_labels(text: str) -> dict[str, str]:
    """Stored labels. Raises `ValueError` or one of its like."""
    if not is_text(text):
        raise ValueError("its labels are not UTF-8")
    return dict(texts(json.loads(text)))


def texts(given: Any) -> Mapping[str, str]:
    """An object whose values are texts. Raises `ValueError`."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("an object of texts was expected")
    return given
