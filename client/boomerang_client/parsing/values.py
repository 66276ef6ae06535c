"""Parse single values of answers, and say what is wrong with an answer."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from boomerang_client.errors import UnexpectedAnswer

#: What wrong answers raise when they are read.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, InvalidOperation)


def read_list(data: object, name: str) -> list[Any]:
    """Return the list under `name` in an answer. Raises UnexpectedAnswer."""
    found = data.get(name) if isinstance(data, Mapping) else None
    if isinstance(found, list):
        return found
    raise unexpected(f"list of {name}", f"it has no list {name!r}")


def as_object(data: object, what: str) -> Mapping[str, Any]:
    """Return an answer that is an object. Raises UnexpectedAnswer."""
    if isinstance(data, Mapping):
        return data
    raise unexpected(what, f"{type(data).__name__} instead of an object")


def unexpected(what: str, problem: object) -> UnexpectedAnswer:
    """Return the error for an answer that is not what it should be."""
    return UnexpectedAnswer(
        f"The answer is not a {what} of Boomerang's API ({problem!r}). Check BOOMERANG_URL, then the versions."
    )


def as_money(value: object) -> Decimal | None:
    """Return an amount of US dollars; None where there is none."""
    return None if value is None or value == "" else Decimal(str(value))


def as_whole(value: Any) -> int | None:
    """Return a whole number; None where there is none."""
    return None if value is None else int(value)


def as_number(value: Any) -> float | None:
    """Return a number; None where there is none."""
    return None if value is None else float(value)


def as_text(value: Any) -> str | None:
    """Return a text; None where it is empty."""
    return str(value) if value else None


def read_time(value: str | None) -> datetime | None:
    """Parse a time in ISO 8601."""
    # Python 3.10 does not parse the "Z" of ISO 8601.
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None
