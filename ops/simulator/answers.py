"""HTTP answers: JSON, and errors in the gateway's and the upstream's format."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from ops.simulator.provider import Provider


class Refusal(Exception):
    """Ends the handling of a request with this answer, or, if None, by cutting the connection."""

    def __init__(self, answer: web.StreamResponse | None) -> None:
        super().__init__()
        self.answer = answer


def answer_json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(
        body=json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error in the gateway's format."""
    return answer_json({"error": {"code": code, "message": message}}, status, headers)


def refuse_upstream(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return an error in the upstream's format, which the gateway passes on unchanged."""
    return answer_json({"code": code, "message": message, "request_id": "simulated"}, status, headers)


def too_many(provider: Provider, subject: str, occasion: str, *, slots: bool) -> web.Response:
    """Return a 429 with the configured kind of Retry-After."""
    kinds = ("seconds", "date", "garbage", "far", "none")
    kind = provider.faults.choice("retry_after")
    if kind == "mixed":
        kind = provider.faults.pick("retry_after", subject, occasion, kinds)
    values = {
        "seconds": "1",
        "date": format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True),
        "garbage": "soon",
        "far": str(10 * 365 * 86400),
    }
    headers = {"Retry-After": values[kind]} if kind in values else None
    if slots:
        return refuse_upstream(429, 1303, "parallel task over resource pack limit", headers)
    return refuse(429, "1302", "Rate limit exceeded, slow down", headers)


#: Status and body with which other gateways say that an external id was used before.
DUPLICATE_WORDS: Sequence[tuple[int, dict[str, Any]]] = (
    (400, {"code": 1201, "message": "external_task_id has been used"}),
    (400, {"code": 1201, "message": "externalTaskId already exists"}),
    (400, {"error": {"code": "1201", "message": "外部任务ID已存在"}}),
    (422, {"detail": [{"loc": ["body", "external_task_id"], "msg": "value must be unique", "type": "value_error"}]}),
    (200, {"code": 1201, "message": "Duplicate external-task-id"}),
)


def duplicate(provider: Provider, subject: str, occasion: str) -> web.Response:
    """Return the error for an external id that exists: 409, the upstream's 400 with code 1201, or other words."""
    policy = provider.faults.choice("duplicates")
    if policy == "mixed":
        policy = provider.faults.pick("duplicates", subject, occasion, ("conflict", "kling", "words"))
    provider.faults.count(f"duplicates.{policy}")
    if policy == "kling":
        return refuse_upstream(400, 1201, f"external_task_id {subject} already exists")
    if policy == "words":
        status, words = provider.faults.pick("duplicates.words", subject, occasion, DUPLICATE_WORDS)
        return web.json_response(words, status=status)
    return refuse(409, "1201", f"A task with external_task_id {subject} exists already")


def cut(request: web.Request) -> web.Response:
    """Cut the connection. The answer that is returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
