"""Strict JSON from bytes: what is let through here can be stored, re-encoded and shown without a further surprise."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from schemas.errors import BodyInvalid

#: Levels of nesting; the deepest documented body has six.
MAX_DEPTH = 64


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BodyInvalid("a key stands twice in one object; give each key once")
    return members


def _no_constant(name: str) -> NoReturn:
    raise BodyInvalid(f"{name} is not JSON; use a finite number or null")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BodyInvalid("a number is too large to be represented; use a finite number")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
_encoder = json.JSONEncoder(ensure_ascii=False)
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


def parse_json(body: bytes) -> object:
    """The one JSON value in `body` (UTF-8, no byte order mark).

    Refused with `BodyInvalid`, never with anything else: bytes that are not UTF-8, NaN and infinities, numbers beyond a
    float or beyond Python's digit limit, a key given twice, lone surrogates (they could not be written back as UTF-8),
    more than `MAX_DEPTH` levels. The size is the caller's to limit, before reading.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyInvalid(f"not UTF-8: {error.reason} at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise BodyInvalid("begins with a byte order mark; send plain UTF-8")
    try:
        value: object = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BodyInvalid(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BodyInvalid(_TOO_DEEP) from None
    except BodyInvalid:
        raise
    except ValueError:  # int() refuses thousands of digits
        raise BodyInvalid("a number has too many digits") from None
    # Few brackets cannot nest deeply, and no \ud escape cannot leave a surrogate: nearly every body is done after two
    # scans in C.
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise BodyInvalid(_TOO_DEEP)
    if "\\ud" in text or "\\uD" in text:
        try:
            _encoder.encode(value).encode("utf-8")
        except UnicodeEncodeError:
            raise BodyInvalid("a string holds half of a surrogate pair; send whole characters") from None
    return value


def _deeper_than(value: object, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return False
    return True


def _children(value: object) -> Iterator[object]:
    """Containers alone count as levels: `[1]` is one deep, `[[1]]` two."""
    members: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (member for member in members if isinstance(member, dict | list))
