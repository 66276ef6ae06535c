"""The forms of single values in JSON: times are ISO 8601, amounts of money are decimal text."""

from datetime import datetime
from decimal import Decimal


def time_text(value: datetime | None) -> str | None:
    """Return a time in ISO 8601; None where there is none."""
    return None if value is None else value.isoformat()


def money_text(value: Decimal | None) -> str | None:
    """Return an amount of money as decimal text, without an exponent; None where there is none."""
    return None if value is None else format(value, "f")
