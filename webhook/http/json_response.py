"""Answers in JSON: the plain data of `jobs.serializers`, times as ISO 8601 and money as decimal text.

The marshmallow schemas of `schemas.views` document these shapes and tests hold them together; dumping through them
would cost more than all the rest of a line of results.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Response


def _plain(value: Any) -> str:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no place in an answer")


#: A value as JSON on one line.
encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode


def json_response(data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that no cache on the way may keep: what it shows changes."""
    return Response(
        encode(data),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json; charset=utf-8",
    )
