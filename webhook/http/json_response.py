"""JSON answers."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

#: Writes a value as JSON on one line.
encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def json_response(data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Make an answer that no cache may keep, since what it shows changes."""
    return Response(
        encode(data),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        content_type="application/json; charset=utf-8",
    )
