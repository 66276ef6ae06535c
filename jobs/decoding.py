"""Decode stored values. A value that this service cannot have written raises `RecordDamaged` of the record."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jobs.errors import RecordDamaged
from jobs.fields import is_text, printable

#: Errors that decoding stored text can raise.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, OSError)


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise decoding errors of the block as `RecordDamaged` of `what`, such as `job fox`."""
    try:
        yield
    except UNREADABLE as error:
        raise RecordDamaged(what, why(error)) from error


def why(error: BaseException) -> str:
    """Describe a decoding error in a message."""
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    return f"{type(error).__name__}: {printable(str(error))}"


def read_labels(text: str) -> dict[str, str]:
    """Decode stored labels. Raises one of `UNREADABLE`."""
    if not is_text(text):
        raise ValueError("its labels are not UTF-8")
    return dict(texts(json.loads(text)))


def texts(given: Any) -> Mapping[str, str]:
    """Return `given` if it is an object whose values are all text. Raises `ValueError` otherwise."""
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("it is not an object whose values are all text")
    return given
