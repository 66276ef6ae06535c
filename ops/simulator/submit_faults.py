"""Faults of a submission and of its answer: one function each, in the order in which they are checked."""

import asyncio
import contextlib
import functools
import json
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ops.simulator import payloads
from ops.simulator.answers import answer_json, cut, refuse, too_many
from ops.simulator.provider import Provider
from ops.simulator.validate import Order

_BROKEN = (500, 502, 503, 504)
_MOVED = (301, 302, 307, 308)
_PAGE = "<!doctype html><title>Please wait</title><h1>Checking your connection</h1>"
_HALF = 0.5
#: 200 MB in pieces of 1 MB.
_PIECES, _PIECE = 200, b" " * (1024 * 1024)


@dataclass(frozen=True, slots=True)
class Submission:
    """A submission in progress: its order, its key, and what decisions about it depend on."""

    provider: Provider
    request: web.Request
    order: Order
    key: str
    base: str
    subject: str
    occasion: str

    def fires(self, fault: str) -> bool:
        """Decide whether this fault affects this submission."""
        return self.provider.faults.fires(fault, self.subject, self.occasion)

    def seconds(self, fault: str) -> float:
        """Return for how many seconds this fault affects this submission; 0: it does not."""
        return self.provider.faults.fires_for(fault, self.subject, self.occasion)

    def pick(self, fault: str, options: Sequence[Any]) -> Any:
        """Choose a variant of the fault."""
        return self.provider.faults.pick(fault, self.subject, self.occasion, options)

    def coin(self, fault: str) -> bool:
        """Decide with a probability of one half."""
        return self.provider.faults.draw(f"{fault}.coin", self.subject, self.occasion) < _HALF

    async def hang_up(self) -> web.Response:
        """Let the caller wait for `hang` seconds, then cut the connection."""
        await asyncio.sleep(self.provider.faults.number("hang"))
        return cut(self.request)


# --- before the task is created


async def _slow(call: Submission) -> None:
    if seconds := call.seconds("slow"):
        await asyncio.sleep(seconds)


async def _cut_before(call: Submission) -> web.Response | None:
    return cut(call.request) if call.fires("cut_before") else None


async def _error_before(call: Submission) -> web.Response | None:
    return refuse(call.pick("error_before", _BROKEN), "5000", "Bad gateway") if call.fires("error_before") else None


async def _throttle(call: Submission) -> web.Response | None:
    return too_many(call.provider, call.subject, call.occasion, slots=False) if call.fires("throttle") else None


async def _redirect(call: Submission) -> web.Response | None:
    if "followed" in call.request.query or not call.fires("redirect"):
        return None
    location = f"{call.request.path}?followed=1"
    return web.Response(status=call.pick("redirect", _MOVED), headers={"Location": location})


async def _no_id(call: Submission) -> web.Response | None:
    if not call.fires("no_id"):
        return None
    error = {"error": {"code": "002016099", "message": "Task creation error"}}
    return answer_json(call.pick("no_id", ({}, {"status": "in_progress"}, error)))


async def _html_before(call: Submission) -> web.Response | None:
    if call.coin("html") and call.fires("html"):
        return web.Response(text=_PAGE, content_type="text/html")
    return None


async def _ghost(call: Submission) -> web.Response | None:
    if seconds := call.seconds("ghost"):
        call.provider.create_later(seconds, call.order, call.key, call.base, (call.subject, call.occasion))
        return await call.hang_up()
    return None


# --- after the task was created


async def _lost_answers(call: Submission, _body: payloads.Body) -> web.Response | None:
    if not call.fires("lost_answers"):
        return None
    if call.provider.faults.number("hang") and call.coin("lost_answers"):
        call.provider.faults.count("lost_answers.hung")
        return await call.hang_up()
    return cut(call.request)


async def _error_after(call: Submission, _body: payloads.Body) -> web.Response | None:
    return refuse(call.pick("error_after", _BROKEN), "5000", "Bad gateway") if call.fires("error_after") else None


async def _html_after(call: Submission, _body: payloads.Body) -> web.Response | None:
    # `_html_before` has handled the other half.
    if not call.fires("html"):
        return None
    call.provider.faults.count("html.created")
    return web.Response(text=_PAGE, content_type="text/html")


async def _truncated(call: Submission, body: payloads.Body) -> web.Response | None:
    if not call.fires("truncated"):
        return None
    text = json.dumps(body)
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


async def _huge(call: Submission, _body: payloads.Body) -> web.StreamResponse | None:
    if not call.fires("huge"):
        return None
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = _PIECES * len(_PIECE)
    # The caller is expected to close the connection before the end.
    with contextlib.suppress(ConnectionError):
        await answer.prepare(call.request)
        for _ in range(_PIECES):
            await answer.write(_PIECE)
    return answer


async def _gzip_bomb(call: Submission, _body: payloads.Body) -> web.Response | None:
    if not call.fires("gzip_bomb"):
        return None
    bomb = await asyncio.to_thread(_bomb)
    return web.Response(body=bomb, headers={"Content-Encoding": "gzip"}, content_type="application/json")


@functools.cache
def _bomb() -> bytes:
    # One gzip member, not a chain of them: urllib3 2.8 needs gigabytes for a chain, even when it is read in small
    # pieces. That would take down the machine instead of testing the caller.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*(compressor.compress(_PIECE) for _ in range(_PIECES)), compressor.flush()])


async def _wrong_id(call: Submission, body: payloads.Body) -> web.Response | None:
    if not call.fires("wrong_id"):
        return None
    other = call.provider.tasks.other_than(body["id"])
    another = other is not None and call.coin("wrong_id")
    call.provider.faults.count("wrong_id.another" if another else "wrong_id.unknown")
    return answer_json(body | {"id": other.id if other is not None and another else body["id"][::-1]})


async def _drip(call: Submission, body: payloads.Body) -> web.StreamResponse | None:
    if not call.fires("drip"):
        return None
    content = json.dumps(body).encode()
    pause = call.provider.faults.number("drip_seconds") / len(content)
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = len(content)
    with contextlib.suppress(ConnectionError):
        await answer.prepare(call.request)
        for byte in content:
            await asyncio.sleep(pause)
            await answer.write(bytes((byte,)))
    return answer


async def _dialect(call: Submission, body: payloads.Body) -> web.Response | None:
    if not call.fires("dialect"):
        return None
    return answer_json(payloads.in_dialect(body, call.provider.faults, call.subject, call.occasion))


_BEFORE: Sequence[Callable[[Submission], Awaitable[web.StreamResponse | None]]] = (
    _slow,
    _cut_before,
    _error_before,
    _throttle,
    _redirect,
    _no_id,
    _html_before,
    _ghost,
)
_AFTER: Sequence[Callable[[Submission, payloads.Body], Awaitable[web.StreamResponse | None]]] = (
    _lost_answers,
    _error_after,
    _html_after,
    _truncated,
    _huge,
    _gzip_bomb,
    _wrong_id,
    _drip,
    _dialect,
)


async def before(call: Submission) -> web.StreamResponse | None:
    """Return the answer of the first fault that fires before the task is created, or None."""
    for fault in _BEFORE:
        answer = await fault(call)
        if answer is not None:
            return answer
    return None


async def after(call: Submission, body: payloads.Body) -> web.StreamResponse:
    """Return the answer of the first fault that fires after the task was created, or the plain answer."""
    for fault in _AFTER:
        answer = await fault(call, body)
        if answer is not None:
            return answer
    return answer_json(body)
