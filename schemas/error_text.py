"""Values in error messages: short, on one line, and always encodable."""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

_MAX_VALUE = 60
_MAX_NAME = 64


def clean(text: str, limit: int = _MAX_NAME) -> str:
    """Cut a text to `limit` characters, and escape lone surrogates and control characters."""
    cut = text[:limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut if len(text) <= limit else f"{cut}…"


def quoted(value: object) -> str:
    """Return a value as short JSON, or the kind of a container."""
    match value:
        case str():
            return f'"{clean(value, _MAX_VALUE)}"'
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case bool() | float() | None:
            return json.dumps(value)
        case int():
            return str(value) if abs(value) < 10**_MAX_VALUE else "a huge number"
        case _:
            return f"a {type(value).__name__}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to `name`, or None."""
    return _nearest(clean(name).lower(), tuple(known))


@lru_cache(maxsize=4096)
def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    """Look up a name once: the lines of a file repeat their mistakes, and a look-up takes as long as to read a line."""
    lowered = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name, lowered, n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None


def encoding_problem(text: str) -> str | None:
    """Return why a string cannot be stored or encoded, or None.

    NUL characters and lone surrogates would fail later, in an encoder or a store, without a useful message.
    """
    if "\0" in text:
        return "contains a NUL character; remove it"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "contains half of a surrogate pair; send whole characters"
    return None
