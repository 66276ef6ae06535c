"""Money is `Decimal` from the wire to the ledger: a float never takes part in arithmetic."""

from decimal import Decimal, InvalidOperation

#: A price longer than this is no price, and would make `Decimal` work for nothing.
_LONGEST = 40

#: Bounds that no real price leaves; they keep "1e999999" from becoming a million digits when it is formatted.
_LARGEST = Decimal("1e12")
_FINEST = -18


def parse_cost(value: object) -> Decimal | None:
    """The cost in USD as the provider gives it: a string, a number, `""` or null.

    Returns None for what tells no price: empty, null, not a number, NaN or infinite, negative, absurd. A JSON number is
    read through its own shortest text (`0.0065` is `Decimal("0.0065")`), so binary rounding never shows. Never raises.
    """
    match value:
        case bool() | None:
            return None
        case Decimal():
            cost = value
        case int() | float() | str():
            try:
                text = str(value).strip()  # an int beyond Python's digit limit refuses to become text
                if not text.isascii() or "_" in text or len(text) > _LONGEST:
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
