"""The audit log: one line on the logger `boomerang.audit` for each requested change, including refused ones.

A line says who (key, producer, address), what (method, path, operation), to what (ids, counts) and the result (status).
The answer carries the line's `request` in the header X-Request-Id. No line contains a secret, a query or a body.

What changes more than one job, or one that exists, is in the audit trail, too (jobs.audit_trail).
"""

import logging
import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, g, request

from jobs.audit_trail import Action, Via, bounded
from jobs.logs import about
from webhook.access.api_keys import Caller
from webhook.access.scopes import is_page

_log = logging.getLogger("boomerang.audit")
_trail_log = logging.getLogger(__name__)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "X-Request-Id"
#: Operations that the audit trail leaves out: there are as many of them as jobs and images, or they change nothing.
NOT_IN_TRAIL = frozenset(
    {
        "jobs.create",
        "generation.submit",
        "images.create",
        "batches.quote",
        "pages.read_new_batch",  # shows what is in a file
        "pages.read_corrections",  # the same
        "pages.corrections_file",  # a download
        "pages.count_bulk",  # a dry run
    }
)
#: Answers after which the audit trail usually gets no entry: nothing was changed, and Redis may be away.
_UNRECORDED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

Record = Callable[[Action], None]


def annotate(**details: Any) -> None:
    """Add details to this request's line. A request that only reads gets a line, too."""
    g.setdefault("audited", {}).update(details)


def leave_out_of_trail() -> None:
    """Write only a line about this request: it changes nothing, or is one of many parts."""
    g.not_in_trail = True


def install(app: Flask, record: Record) -> None:
    """Write a line after each request that changes something or is annotated, and record changes in the audit trail."""

    @app.after_request
    def end(response: Response) -> Response:
        status = response.status_code
        changes = "caller" in g and request.method not in _SAFE_METHODS
        # An upload that ends early may have enqueued some of its lines.
        did_something = status not in _UNRECORDED or bool(g.get("audited", {}).get("accepted"))
        # A request over the rate limit changes nothing, and must not fill the log.
        if (changes or "audited" in g) and (did_something or status != HTTPStatus.TOO_MANY_REQUESTS):
            number = secrets.token_hex(8)
            response.headers[HEADER] = number
            _write_request(status, number)
            endpoint = request.endpoint or ""
            left_out = not endpoint or endpoint in NOT_IN_TRAIL or "not_in_trail" in g
            if changes and did_something and not left_out:
                note(record, _action(status, number, Via.PAGE if is_page(endpoint) else Via.API))
        return response


def write(**details: Any) -> None:
    """Write one line."""
    with about(**details):
        # Names in a path come from outside: escaped, they cannot start a line of their own.
        _log.info("%s", " ".join(f"{name}={ascii(str(value))[1:-1]}" for name, value in details.items()))


def note(record: Record, action: Action) -> None:
    """Record an action in the audit trail. It is done already: an error is only logged."""
    try:
        record(action)
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller must learn that the action is done
        _trail_log.warning("the audit trail lacks %s %s: %s", action.operation, action.request, error)


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


def _action(status: int, number: str, via: Via) -> Action:
    caller: Caller = g.caller
    return Action(
        owner=caller.owner,
        key=caller.key,
        by=caller.name,
        operation=request.endpoint or "",
        via=via,
        status=status,
        request=number,
        details=bounded({**(request.view_args or {}), **g.get("audited", {})}),
    )
