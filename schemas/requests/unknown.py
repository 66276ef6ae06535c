"""Parameters that no schema knows: what the provider's models have learned since, passed on if the operator wants it.

They are passed unchanged, so nothing is known about their values. Only their number, size, depth and types are checked,
and that they contain no reference to a stored image, which the service would not resolve.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.body import deeper_than
from schemas.error_text import clean, encoding_problem
from schemas.images import REFERENCE

MOST, LARGEST, DEEPEST = 32, 64 * 1024, 8
NAME = r"[A-Za-z_][A-Za-z0-9_.-]{0,63}"
_NAME = re.compile(NAME)
#: Whole numbers that any reader of JSON can hold.
_LARGEST_WHOLE = 2**63
_NO_NAME = object()


def unknown_problems(unknown: Mapping[Any, Any]) -> dict[str, list[str]]:
    """Return the errors of unknown parameters by name; empty if all can be passed on."""
    if len(unknown) > MOST:
        return {"request": [f"has {len(unknown)} unknown parameters; at most {MOST} are passed on"]}
    problems = ((clean(str(name)), _problem(name, value)) for name, value in unknown.items())
    named = {name: [problem] for name, problem in problems if problem}
    # Measured only if all values are plain, so that they can be encoded.
    if not named and len(json.dumps(dict(unknown), ensure_ascii=False).encode()) > LARGEST:
        return {"request": [f"has more than {LARGEST:,} bytes of unknown parameters; shorten them"]}
    return named


def _problem(name: object, value: object) -> str | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "is not a valid name of a parameter; use 1 to 64 of A-Z a-z 0-9 _ . -, and begin with a letter or _"
    if deeper_than(value, DEEPEST):
        return f"is nested more than {DEEPEST} levels deep"
    return next(filter(None, map(_leaf_problem, _leaves(value))), None)


def _leaves(value: object) -> Iterator[object]:
    """Yield what a value contains, except containers; names of members, too."""
    match value:
        case dict():
            for name, each in value.items():
                # Any other type of name is refused as a value would be.
                yield name if isinstance(name, str) else _NO_NAME
                yield from _leaves(each)
        case list() | tuple():
            for each in value:
                yield from _leaves(each)
        case _:
            yield value


def _leaf_problem(value: object) -> str | None:
    match value:
        case str() if value.startswith(REFERENCE):
            return "contains a reference to a stored image, which only known parameters may; give a URL"
        case str():
            return encoding_problem(value)
        case int() if abs(value) >= _LARGEST_WHOLE:
            return "contains a number that is too large"
        case float() if not math.isfinite(value):
            return "contains a number that is not finite"
        case None | bool() | int() | float():
            return None
    return f"contains a {type(value).__name__}; only JSON values are passed on"
