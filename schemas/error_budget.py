"""Bounds for the errors of a refused request. The sender decides how many errors there are and how long each one is."""

import json
from collections.abc import Mapping, Sequence

from schemas.error_text import clean

#: Fields that are named, beside the request as a whole, and messages on each. The other errors are only counted.
MOST_FIELDS, MOST_MESSAGES = 20, 5
#: Bytes of all errors of one request, as JSON in UTF-8.
MOST_BYTES = 8 * 1024
#: The path of errors on the request as a whole.
WHOLE = "request"
#: Characters. A path has up to three names of at most 64 characters.
_LONGEST_PATH, _LONGEST_MESSAGE = 240, 1_000
#: Bytes that are set aside for the message that counts the other errors.
_RESERVE = 100


def bounded(errors: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the first errors by path, and under `request` how many more there are. A second run changes nothing."""
    named, omitted = _first(errors, MOST_BYTES)
    if omitted:
        named, omitted = _first(errors, MOST_BYTES - _RESERVE)
        named.setdefault(WHOLE, []).append(f"has {omitted:,} more {'error' if omitted == 1 else 'errors'}")
    return named


def _first(errors: Mapping[str, Sequence[str]], most_bytes: int) -> tuple[dict[str, list[str]], int]:
    """Return the errors that fit, and the number of the others."""
    named: dict[str, list[str]] = {}
    size = omitted = 0
    for path, messages in errors.items():
        if len(named) - (WHOLE in named) >= MOST_FIELDS and path != WHOLE:
            omitted += len(messages)
            continue
        name = _short(path, _LONGEST_PATH)
        for number, message in enumerate(messages):
            text = _short(message, _LONGEST_MESSAGE)
            size += json_size(text) + (0 if name in named else json_size(name))
            if size > most_bytes or (number == MOST_MESSAGES and path != WHOLE):
                omitted += len(messages) - number
                break
            named.setdefault(name, []).append(text)
    return named, omitted


def _short(text: str, limit: int) -> str:
    # Twice: what is escaped has become longer.
    return clean(clean(text, limit), limit)


def json_size(text: str) -> int:
    """Return the bytes of a string in JSON, with the separator and brackets around it. The text can be encoded."""
    return len(json.dumps(text, ensure_ascii=False).encode()) + len(": [],")
