"""Money as `Decimal`, in whole nano-dollars: no calculation uses a float."""

import json
import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation

from schemas.error_text import clean
from schemas.exact_float import ExactFloat

#: The highest cost in USD of one task. A higher amount is a mistake, and could exceed what is counted in 64 bits.
MOST_COST = Decimal(1_000_000)
#: The smallest amount that is kept and counted, in USD. Finer amounts are rounded half to even, once.
_UNIT = Decimal("1e-9")
#: Digits of the highest cost in the smallest unit.
_PRECISION = 16
#: ASCII digits with a sign, a point and an exponent. `Decimal` alone reads "1_000", other digits and "Infinity" too.
_AMOUNT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,9})?")
#: Characters of a text that are read. Anything longer has more digits than any program that calculates a price.
_MAX_LENGTH = 10_000
#: Characters of what was sent that are shown.
_SHOWN = 60
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the provider names as the cost of a task.

    `amount`: in USD, a multiple of a nano-dollar; None where no cost is named, or none that can be read. `unreadable`:
    what was sent instead of an amount, shortened and printable. `rounded`: the text of an amount that was rounded.
    """

    amount: Decimal | None = None
    unreadable: str | None = None
    rounded: str | None = None


def read_cost(value: object) -> Cost:
    """Read a cost in USD: a string, a number, or nothing (`""` or null). Never raises, and takes bounded time.

    Amounts finer than a nano-dollar are rounded half to even. Anything that is not an amount from 0 to `MOST_COST` is
    unreadable. A float is read from its own text (ExactFloat), or else from its shortest one: `0.0065`
    is `Decimal("0.0065")`.
    """
    text = _text(value)
    if not text:
        return Cost()
    amount = None if isinstance(value, bool) else _parse(text)
    return Cost(unreadable=clean(text, _SHOWN)) if amount is None else _in_units(amount, text)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value.strip() if len(value) <= _MAX_LENGTH else value
        case ExactFloat() if len(value.text) <= _MAX_LENGTH:
            return value.text
        case float() | Decimal():
            return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # an integer of too many digits, or too deep
        return "a value too long or too deep to show"


def _parse(text: str) -> Decimal | None:
    if len(text) > _MAX_LENGTH or not _AMOUNT.fullmatch(text):
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    if amount.is_zero():
        return _ZERO
    return None if amount.is_signed() or amount > MOST_COST else amount


def _in_units(amount: Decimal, text: str) -> Cost:
    context = Context(prec=_PRECISION, rounding=ROUND_HALF_EVEN)
    kept = amount.quantize(_UNIT, context=context).normalize(context)
    rounded = clean(text, _SHOWN) if context.flags[Inexact] else None
    return Cost(amount=kept or _ZERO, rounded=rounded)
