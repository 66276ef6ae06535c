"""The audit log: one line on the logger `boomerang.audit` for each requested change, including refused ones.

A line says who (key, producer, address), what (method, path, operation), to what (ids, counts) and the result (status).
The answer carries the line's `request` in the header X-Request-Id. No line contains a secret, a query or a body.
"""

import logging
import secrets
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request

from jobs.logs import about
from webhook.access.api_keys import Caller

_log = logging.getLogger("boomerang.audit")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "X-Request-Id"


def annotate(**details: Any) -> None:
    """Add details to this request's line. A request that only reads gets a line, too."""
    g.setdefault("audited", {}).update(details)


def install(app: Flask) -> None:
    """Write a line after each request that changes something or is annotated."""

    @app.after_request
    def end(response: Response) -> Response:
        changes = "caller" in g and request.method not in _SAFE_METHODS
        # A request over the rate limit changes nothing, and must not fill the log.
        if (changes or "audited" in g) and response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            number = secrets.token_hex(8)
            response.headers[HEADER] = number
            _write_request(response.status_code, number)
        return response


def write(**details: Any) -> None:
    """Write one line."""
    with about(**details):
        # Names in a path come from outside: escaped, they cannot start a line of their own.
        _log.info("%s", " ".join(f"{name}={ascii(str(value))[1:-1]}" for name, value in details.items()))


def _write_request(status: int, number: str) -> None:
    caller: Caller = g.get("caller") or Caller()
    write(
        **{
            "key": caller.key,
            "producer": caller.name,
            "address": g.get("address", ""),
            "method": request.method,
            "path": request.path,
            "operation": request.endpoint or "",
            **(request.view_args or {}),
            **g.get("audited", {}),
            "status": status,
            "request": number,
        }
    )
