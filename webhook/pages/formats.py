"""How the pages write numbers, times and money."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlsplit

from jinja2 import Environment

from jobs.read_models import Lane

_NARROW = "\u202f"
#: Names of states for people. A state is also recognised by its sign, so that colour alone says nothing.
_SIGNS = {
    "queued": "○",
    "submitting": "◔",
    "in_doubt": "?",
    "in_progress": "◐",
    "completed": "●",
    "failed": "✕",
    "cancelled": "⊘",
    "expired": "◷",
    "paused": "‖",
    "held": "‖",
    "open": "●",
    "breaker_open": "✕",
    "removed": "⊘",
    "ok": "●",
    "problem": "✕",
    "unknown": "?",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

Number = TypeVar("Number", int, float, Decimal)


def count(value: float | Decimal | None) -> str:
    """Write a number with its thousands apart: 1 234 567; "–" for None."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if value == int(value) else f"{value:,.2f}".rstrip("0")
    return text.replace(",", _NARROW)


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 job`, `2 jobs`, for a noun whose plural ends with s."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def dollars(value: Decimal | float | str | None) -> str:
    """Write dollars: cents, or four digits of amounts below one dollar that have them; "–" for None."""
    if value is None:
        return "–"
    amount = Decimal(value)
    digits = 4 if abs(amount) < 1 and round(amount, 2) != amount else 2
    return f"${amount:,.{digits}f}".replace(",", _NARROW)


def span(seconds: float | None) -> str:
    """Write a length of time with its two largest units: `2 h 5 min`, `850 ms`; "–" for None."""
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if 1 <= seconds < 10 and seconds != int(seconds):  # noqa: PLR2004 - a digit after the point matters below ten
        return f"{seconds:.1f} s"
    rest, parts = round(abs(seconds)), list[str]()
    for size, unit in _UNITS:
        number, rest = divmod(rest, size)
        if number or (parts and rest):
            parts.append(f"{number} {unit}")
        if len(parts) == 2 or (parts and not rest):  # noqa: PLR2004 - two units suffice
            break
    return " ".join(parts) or "0 s"


def relative(moment: datetime, now: datetime) -> str:
    """Write how far a time is from now: `3 min ago`, `in 2 h`, `now`."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 1:
        return "now"
    size, unit = next((size, unit) for size, unit in _UNITS if abs(seconds) >= size)
    text = f"{int(abs(seconds) // size)} {unit}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def exact(moment: datetime) -> str:
    """Write a time in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def machine(moment: datetime) -> str:
    """Write a time for the attribute `datetime`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def words(name: str) -> str:
    """Write a name of the API for people: `in_doubt` is `in doubt`."""
    return str(name).replace("_", " ")


def sign(state: str) -> str:
    """Return the sign of a state."""
    return _SIGNS.get(str(state), "•")


def standing(lane: Lane) -> str:
    """Return the state of a lane in a word."""
    if lane.settings is None:
        return "removed"
    if lane.paused:
        return "paused"
    if lane.open_since:
        return "breaker_open"
    return "held" if lane.held else "open"


def is_web_address(address: str) -> bool:
    """Return whether a page may link to an address from outside: only to http and https."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _now() -> datetime:
    return datetime.now(UTC)


def install(environment: Environment) -> None:
    """Make these available in templates, as filters of the same names."""
    for each in (count, counted, dollars, span, relative, exact, machine, words, sign, standing):
        environment.filters[each.__name__] = each
    environment.tests["web_address"] = is_web_address
    environment.globals["now"] = _now
