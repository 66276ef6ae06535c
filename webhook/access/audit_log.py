"""Who did what: a line on the logger `boomerang.audit` for every change that somebody asks for, refused ones too.

It says who (key, producer, address), what (method, path, what the call is called), to what (ids, counts) and what came
of it (status). The answer carries the line's `request` as X-Request-Id. No line has a secret, a query or a body in it.
"""

import logging
import secrets
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request

from jobs.logs import about
from webhook.access.api_keys import Caller

_log = logging.getLogger("boomerang.audit")
_LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "X-Request-Id"


def annotate(**facts: Any) -> None:
    """Have a line be written about this request, and say this, too."""
    g.setdefault("audited", {}).update(facts)


def install(app: Flask) -> None:
    """Write the lines."""

    @app.after_request
    def end(response: Response) -> Response:
        changed = "caller" in g and request.method not in _LOOKING
        # Who calls too often has done nothing, and must not fill the log either.
        if (changed or "audited" in g) and response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
            number = secrets.token_hex(8)
            response.headers[HEADER] = number
            _write(response.status_code, number)
        return response


def write(**facts: Any) -> None:
    """One line."""
    with about(**facts):
        # Names in addresses are strangers' text: escaped, it cannot break out of its line.
        _log.info("%s", " ".join(f"{name}={ascii(str(value))[1:-1]}" for name, value in facts.items()))


def _write(status: int, number: str) -> None:
    who: Caller = g.get("caller") or Caller()
    write(
        **{
            "key": who.key,
            "producer": who.name,
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
