"""How an error shows what it was given: short, on one line, and encodable whatever it was."""

import json
from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_SHOWN = 60
_LONGEST_NAME = 64


def clean(text: str, limit: int = _LONGEST_NAME) -> str:
    """`text` cut to `limit` characters, half surrogates and control characters escaped."""
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut if len(text) <= limit else f"{cut}…"


def shown(value: object) -> str:
    """A value as JSON would write it, cut short; containers by their kind alone."""
    match value:
        case str():
            return f'"{clean(value, _LONGEST_SHOWN)}"'
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case bool() | float() | None:
            return json.dumps(value)
        case int():
            return str(value) if abs(value) < 10**_LONGEST_SHOWN else "a huge number"
        case _:
            return f"a {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely a slip of."""
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(clean(name).lower(), lowered, n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None


def unfit(text: str) -> str | None:
    """Why a string cannot travel on.

    NUL bytes and lone surrogates fail later, in encoders and stores, where nobody can explain them.
    """
    if "\0" in text:
        return "holds a NUL character; remove it"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "holds half of a surrogate pair; send whole characters"
    return None
