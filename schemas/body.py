"""Strict JSON: every accepted value can be stored, and encoded again without an error."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from schemas.errors import BodyInvalid
from schemas.exact_float import exact_float

#: Most levels of nesting. The deepest documented body has six.
MAX_DEPTH = 64
#: Bytes from which on the values of a body are counted, and the most that it may have. A value of two bytes takes up to
#: 64 in memory. A request has fewer than a hundred values, and at most 32 more parameters of 64 KiB together.
_SMALL, _MOST_VALUES = 1024 * 1024, 100_000


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BodyInvalid("an object has the same key twice; give each key once")
    return members


def _no_constant(name: str) -> NoReturn:
    raise BodyInvalid(f"{name} is not valid JSON; use a finite number or null")


def _finite(text: str) -> float:
    return _checked(float(text), text)


def _exact(text: str) -> float:
    return _checked(exact_float(text), text)


def _checked(number: float, text: str) -> float:
    if not math.isfinite(number):
        raise BodyInvalid(f"the number {text[:20]} is too large; use one that a double can hold")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite)
_exact_decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_exact)
_encoder = json.JSONEncoder(ensure_ascii=False)
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def parse_json(body: bytes, *, exact: bool = False) -> object:
    """Parse one JSON value in UTF-8, without a byte order mark. With `exact`, its floats keep their text (ExactFloat).

    Raises only `BodyInvalid`: for bytes that are not UTF-8, NaN and infinities, numbers beyond a float or Python's
    digit limit, duplicate keys, lone surrogates (UTF-8 cannot encode them), more than `MAX_DEPTH` levels, and too many
    values. The caller must limit the size before it reads the body.
    """
    text = _decode(body)
    try:
        value: object = (_exact_decoder if exact else _decoder).decode(text)
    except json.JSONDecodeError as error:
        raise BodyInvalid(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise BodyInvalid(_TOO_DEEP) from None
    except BodyInvalid:
        raise
    except ValueError:  # int() refuses thousands of digits
        raise BodyInvalid("a number has too many digits") from None
    # Without many brackets or a \ud escape there is nothing to check: most bodies need only these fast scans.
    if text.count("[") + text.count("{") > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise BodyInvalid(_TOO_DEEP)
    if "\\ud" in text or "\\uD" in text:
        try:
            _encoder.encode(value).encode("utf-8")
        except UnicodeEncodeError:
            raise BodyInvalid("a string has half of a surrogate pair; send whole characters") from None
    return value


def _decode(body: bytes) -> str:
    if len(body) > _SMALL and sum(map(body.count, (b",", b":", b"[", b"{"))) > _MOST_VALUES:
        raise BodyInvalid(f"it has more than {_MOST_VALUES:,} commas, colons and brackets; a request has under 1,000")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyInvalid(f"it is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise BodyInvalid("it begins with a byte order mark; send UTF-8 without one")
    return text


def deeper_than(value: object, levels: int) -> bool:
    """Return whether containers are nested more than `levels` deep in a JSON value."""
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return False
    return True


def _children(value: object) -> Iterator[object]:
    """Yield the containers in a container. Only they count as levels: `[1]` has one, `[[1]]` two."""
    members: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (member for member in members if isinstance(member, dict | list))
