"""Money as `Decimal`: no calculation uses a float."""

from decimal import Decimal, InvalidOperation

#: Characters. A longer text is not a price, and would only cost time to parse.
_MAX_LENGTH = 40

#: No real price exceeds these. Without them, "1e999999" would be formatted with a million digits.
_LARGEST = Decimal("1e12")
_FINEST = -18


def parse_cost(value: object) -> Decimal | None:
    """Parse a cost in USD from the provider: a string, a number, `""` or null.

    Returns None for anything that is not a price: empty, null, no number, NaN or infinite, negative, absurd. A JSON
    number is parsed from its shortest text (`0.0065` is `Decimal("0.0065")`), without binary rounding. Never raises.
    """
    match value:
        case bool() | None:
            return None
        case Decimal():
            cost = value
        case int() | float() | str():
            try:
                text = str(value).strip()  # raises for an int beyond Python's digit limit
                if not text.isascii() or "_" in text or len(text) > _MAX_LENGTH:
                    return None
                cost = Decimal(text)
            except (InvalidOperation, ValueError):
                return None
        case _:
            return None
    if not cost.is_finite() or cost.is_signed() or cost > _LARGEST:
        return None
    exponent = cost.as_tuple().exponent
    return cost if isinstance(exponent, int) and exponent >= _FINEST else None
