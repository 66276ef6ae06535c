"""Tolerant JSON, for answers of the provider: read what can be read, in bounded time and memory.

`parse_json` is the strict reader, for strangers. Here it is only the fast path: most answers need nothing else. What it
refuses is read again with less strictness, and at last repaired. The caller must limit the size before it reads.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from schemas.body import MAX_DEPTH, deeper_than, parse_json
from schemas.errors import BodyInvalid
from schemas.exact_float import exact_float
from schemas.json_repair import repair

#: Characters that a repair reads, because it is slow: the worst text takes half a second. The rest counts as missing.
MOST_REPAIRED = 128 * 1024
#: Characters before the first brace that may be skipped, such as `)]}',` or `data:`.
_MOST_LEADING = 64
#: More digits are no number that anybody counts with: they stay text.
_MOST_DIGITS = 40
_EMPTY: tuple[object, ...] = (None, "", [], {})


@dataclass(frozen=True, slots=True)
class Reading:
    """The members of an answer. `exact`: it is strict JSON. `whole`: its end was read, so that no member is missing."""

    members: dict[str, Any]
    exact: bool = True
    whole: bool = True


def read_object(body: bytes) -> Reading:
    """Read one JSON object. Raises only `BodyInvalid`.

    Read nevertheless: other charsets than UTF-8, a byte order mark, raw control characters, NaN and infinities, keys
    that repeat, half surrogates, commas at the end, text around the object, nesting of any depth (what is deeper than
    `MAX_DEPTH` becomes null), and an object that is cut off, with the members before the cut.

    All strings can be encoded in UTF-8. Numbers that no double can hold are text; NaN and infinities are floats. Other
    floats keep their text (ExactFloat).
    """
    try:
        value = parse_json(body, exact=True)
    except BodyInvalid:
        value = None
    if isinstance(value, dict):
        return Reading(value)
    try:
        return _read_loosely(text_of(body))
    except RecursionError:
        raise BodyInvalid("it is nested too deep") from None


def text_of(body: bytes) -> str:
    """Decode with the charset that the bytes show: UTF-16 and UTF-32 have zeros or a mark, Latin-1 is no UTF-8.

    The result can be encoded in UTF-8. It has no byte order mark, and no white space or zeros around it.
    """
    charset = json.detect_encoding(body)
    text = body.decode(charset, "replace")
    # Where valid characters beyond ASCII stand between the others, it is UTF-8 with an error.
    if charset == "utf-8" and "\ufffd" in text and not re.search("[^\0-\x7f\ufffd]", text):
        text = body.decode("latin-1")
    return text.lstrip("\ufeff").strip(" \t\r\n\0")


def _read_loosely(text: str) -> Reading:
    if not text:
        raise BodyInvalid("it is empty")
    if text.startswith("<"):
        raise BodyInvalid("it is a page of HTML or XML")
    if text.startswith('"'):
        text = _unquoted(text)
    brace = text.find("{", 0, _MOST_LEADING)
    if brace < 0:
        raise BodyInvalid("it is no JSON object")
    listed, text = text.startswith("["), text[brace:]
    value, end = _decoded(text)
    if listed and (value is None or text[end:].strip() != "]"):
        raise BodyInvalid("it is a list")
    if value is not None:
        return Reading(_without_half_surrogates(value, text), exact=False)
    repaired = repair(text[:MOST_REPAIRED], MAX_DEPTH)
    for candidate in repaired.candidates:
        value, _ = _decoded(candidate)
        if value is not None:
            return Reading(_without_half_surrogates(value, candidate), exact=False, whole=repaired.whole)
    raise BodyInvalid("it is no JSON object, and cannot be repaired")


def _decoded(text: str) -> tuple[dict[str, Any] | None, int]:
    """Return the object at the beginning of a text, and where it ends; None where it is none, or nested too deep."""
    try:
        value, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None, 0
    if text.count("[") + text.count("{") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        return None, 0
    return value, end


def _without_half_surrogates(value: dict[str, Any], text: str) -> dict[str, Any]:
    """Replace halves of surrogate pairs, which UTF-8 cannot encode. `text`: what the value was read from."""
    if "\\ud" not in text and "\\uD" not in text:
        return value
    halves = json.dumps(value, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
    whole, _ = _decoder.raw_decode(halves.decode("utf-16-le", "replace"))
    return dict(whole)


def _unquoted(text: str) -> str:
    """Return the text of a JSON string that contains JSON."""
    try:
        value, _ = _decoder.raw_decode(text)
    except ValueError:
        return ""
    return str(value)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that repeats, take the last value that is not empty, so that no price or image is lost."""
    members = dict(pairs)
    if len(members) < len(pairs):
        members = {}
        for key, value in pairs:
            if key not in members or value not in _EMPTY:
                members[key] = value
    return members


def _float(text: str) -> float | str:
    number = exact_float(text)
    return number if math.isfinite(number) else _cut(text)


def _int(text: str) -> int | str:
    return int(text) if len(text) <= _MOST_DIGITS else _cut(text)


def _cut(number: str) -> str:
    return number if len(number) <= _MOST_DIGITS else f"{number[:_MOST_DIGITS]}…"


_decoder = json.JSONDecoder(strict=False, object_pairs_hook=_members, parse_float=_float, parse_int=_int)
