"""Answers: how a body becomes one, and the refusals in the gateway's style and in the upstream's."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from ops.simulator.provider import Provider


class Refusal(Exception):
    """Ends the handling of a request with this answer; None: with a cut connection."""

    def __init__(self, answer: web.StreamResponse | None) -> None:
        super().__init__()
        self.answer = answer


def answer_json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=json.dumps(body, separators=(",", ":")).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal in the gateway's style."""
    return answer_json({"error": {"code": code, "message": message}}, status, headers)


def refuse_upstream(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """A refusal in the upstream's style, which the gateway passes on as it came."""
    return answer_json({"code": code, "message": message, "request_id": "simulated"}, status, headers)


def too_many(provider: Provider, who: str, occasion: str, *, slots: bool) -> web.Response:
    """429 with a Retry-After of the kind that is switched on."""
    kinds = ("seconds", "date", "garbage", "far", "none")
    kind = provider.faults.word("retry_after")
    if kind == "mixed":
        kind = provider.faults.pick("retry_after", who, occasion, kinds)
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


def duplicate(provider: Provider, who: str, occasion: str) -> web.Response:
    """The external id exists: 409, or the upstream's 400 with 1201."""
    policy = provider.faults.word("duplicates")
    if policy == "mixed":
        policy = provider.faults.pick("duplicates", who, occasion, ("conflict", "kling"))
    provider.faults.count(f"duplicates.{policy}")
    if policy == "kling":
        return refuse_upstream(400, 1201, f"external_task_id {who} already exists")
    return refuse(409, "1201", f"A task with external_task_id {who} exists already")


def cut(request: web.Request) -> web.Response:
    """Cut the connection; the answer returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
