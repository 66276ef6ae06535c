"""Write the value of a workbook's cell as people see it there."""

import re
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

#: A text in quotation marks, an escaped or padding character, a colour or a currency ([$€-407]) of a number format.
_DECORATION = re.compile(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]')
_PLAIN = re.compile(r"#?,?#*0(?:\.(0+))?")
_ZEROS = re.compile(r"0{2,}")
#: Digits that a spreadsheet keeps.
_DIGITS = 15
#: A character that XML cannot hold, as workbooks write it: _x000D_.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def cell_text(value: Any, number_format: str | None) -> str:
    """Return a value as text: numbers with the decimals, percent signs and leading zeros of their format.

    Dates are ISO 8601, whatever their format. Numbers have no thousands separators and no currency.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value).replace("\r\n", "\n")
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number(value, number_format or "General")
    return _moment(value)


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        if value.time() == time():
            return value.date().isoformat()
        # A time is a fraction of a day there, which is seldom a whole number of microseconds.
        return (value + timedelta(microseconds=500)).replace(tzinfo=None).isoformat(" ", "seconds").removesuffix(":00")
    if isinstance(value, time):
        return value.isoformat("seconds").removesuffix(":00") if value.second == 0 else value.isoformat("seconds")
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _number(value: float, number_format: str) -> str:
    visible = _DECORATION.sub("", number_format.split(";", maxsplit=1)[0])
    number = Decimal(f"{value:.{_DIGITS}g}")
    percent = "%" in visible
    core = visible.replace("%", "").strip(" $€£¥")
    if percent:
        number *= 100
    if _ZEROS.fullmatch(core):
        return f"{int(_rounded(number, 0)):0{len(core)}d}{'%' * percent}"
    found = _PLAIN.fullmatch(core)
    if found:
        return f"{_rounded(number, len(found[1] or '')):f}{'%' * percent}"
    return f"{_plain(number)}{'%' * percent}"


def _rounded(number: Decimal, places: int) -> Decimal:
    digits = max(number.adjusted(), 0) + places + 2
    if digits > 28:  # noqa: PLR2004 - the precision of decimal's default context
        return number
    return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
