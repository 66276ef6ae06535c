"""What can befall a submission and its answer: one function a fault, in the order in which they are asked."""

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
#: 200 MB in pieces of 1 MB
_PIECES, _PIECE = 200, b" " * (1024 * 1024)


@dataclass(frozen=True, slots=True)
class Ask:
    """A submission that is being handled: who asks for what, for which time."""

    provider: Provider
    request: web.Request
    order: Order
    key: str
    base: str
    who: str
    occasion: str

    def fires(self, fault: str) -> bool:
        """Whether this fault meets this submission."""
        return self.provider.faults.fires(fault, self.who, self.occasion)

    def seconds(self, fault: str) -> float:
        """For how long this fault meets this submission; 0: it does not."""
        return self.provider.faults.fires_for(fault, self.who, self.occasion)

    def pick(self, fault: str, options: Sequence[Any]) -> Any:
        """A variant of the fault."""
        return self.provider.faults.pick(fault, self.who, self.occasion, options)

    def coin(self, fault: str) -> bool:
        """Heads or tails."""
        return self.provider.faults.draw(f"{fault}.coin", self.who, self.occasion) < _HALF

    async def hang_up(self) -> web.Response:
        """Keep the caller for `hang` seconds, then cut the connection."""
        await asyncio.sleep(self.provider.faults.number("hang"))
        return cut(self.request)


# Before anything is created.


async def _slow(ask: Ask) -> None:
    if seconds := ask.seconds("slow"):
        await asyncio.sleep(seconds)


async def _cut_before(ask: Ask) -> web.Response | None:
    return cut(ask.request) if ask.fires("cut_before") else None


async def _error_before(ask: Ask) -> web.Response | None:
    return refuse(ask.pick("error_before", _BROKEN), "5000", "Bad gateway") if ask.fires("error_before") else None


async def _throttle(ask: Ask) -> web.Response | None:
    return too_many(ask.provider, ask.who, ask.occasion, slots=False) if ask.fires("throttle") else None


async def _redirect(ask: Ask) -> web.Response | None:
    if "followed" in ask.request.query or not ask.fires("redirect"):
        return None
    location = f"{ask.request.path}?followed=1"
    return web.Response(status=ask.pick("redirect", _MOVED), headers={"Location": location})


async def _no_id(ask: Ask) -> web.Response | None:
    if not ask.fires("no_id"):
        return None
    error = {"error": {"code": "002016099", "message": "Task creation error"}}
    return answer_json(ask.pick("no_id", ({}, {"status": "in_progress"}, error)))


async def _html_before(ask: Ask) -> web.Response | None:
    if ask.coin("html") and ask.fires("html"):
        return web.Response(text=_PAGE, content_type="text/html")
    return None


async def _ghost(ask: Ask) -> web.Response | None:
    if seconds := ask.seconds("ghost"):
        ask.provider.haunt(seconds, ask.order, ask.key, ask.base, (ask.who, ask.occasion))
        return await ask.hang_up()
    return None


# After the task has been created.


async def _lost_answers(ask: Ask, _body: payloads.Body) -> web.Response | None:
    if not ask.fires("lost_answers"):
        return None
    if ask.provider.faults.number("hang") and ask.coin("lost_answers"):
        ask.provider.faults.count("lost_answers.hung")
        return await ask.hang_up()
    return cut(ask.request)


async def _error_after(ask: Ask, _body: payloads.Body) -> web.Response | None:
    return refuse(ask.pick("error_after", _BROKEN), "5000", "Bad gateway") if ask.fires("error_after") else None


async def _html_after(ask: Ask, _body: payloads.Body) -> web.Response | None:
    # Whoever is met here is one whom the coin spared before the creation.
    if not ask.fires("html"):
        return None
    ask.provider.faults.count("html.created")
    return web.Response(text=_PAGE, content_type="text/html")


async def _truncated(ask: Ask, body: payloads.Body) -> web.Response | None:
    if not ask.fires("truncated"):
        return None
    text = json.dumps(body)
    return web.Response(text=text[: len(text) // 2], content_type="application/json")


async def _huge(ask: Ask, _body: payloads.Body) -> web.StreamResponse | None:
    if not ask.fires("huge"):
        return None
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = _PIECES * len(_PIECE)
    # A caller that hangs up in the middle is the purpose, not an error.
    with contextlib.suppress(ConnectionError):
        await answer.prepare(ask.request)
        for _ in range(_PIECES):
            await answer.write(_PIECE)
    return answer


async def _gzip_bomb(ask: Ask, _body: payloads.Body) -> web.Response | None:
    if not ask.fires("gzip_bomb"):
        return None
    bomb = await asyncio.to_thread(_bomb)
    return web.Response(body=bomb, headers={"Content-Encoding": "gzip"}, content_type="application/json")


@functools.cache
def _bomb() -> bytes:
    # One member, not a thousand glued together: urllib3 2.8 takes gigabytes over a chain of them even when it is read
    # in small pieces, and this is to try the caller, not to fell the machine it runs on.
    press = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*(press.compress(_PIECE) for _ in range(_PIECES)), press.flush()])


async def _wrong_id(ask: Ask, body: payloads.Body) -> web.Response | None:
    if not ask.fires("wrong_id"):
        return None
    other = ask.provider.tasks.other_than(body["id"])
    another = other is not None and ask.coin("wrong_id")
    ask.provider.faults.count("wrong_id.another" if another else "wrong_id.nobody")
    return answer_json(body | {"id": other.id if other is not None and another else body["id"][::-1]})


async def _drip(ask: Ask, body: payloads.Body) -> web.StreamResponse | None:
    if not ask.fires("drip"):
        return None
    content = json.dumps(body).encode()
    pause = ask.provider.faults.number("drip_seconds") / len(content)
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.content_length = len(content)
    with contextlib.suppress(ConnectionError):
        await answer.prepare(ask.request)
        for byte in content:
            await asyncio.sleep(pause)
            await answer.write(bytes((byte,)))
    return answer


async def _dialect(ask: Ask, body: payloads.Body) -> web.Response | None:
    if not ask.fires("dialect"):
        return None
    return answer_json(payloads.in_dialect(body, ask.provider.faults, ask.who, ask.occasion))


_BEFORE: Sequence[Callable[[Ask], Awaitable[web.StreamResponse | None]]] = (
    _slow,
    _cut_before,
    _error_before,
    _throttle,
    _redirect,
    _no_id,
    _html_before,
    _ghost,
)
_AFTER: Sequence[Callable[[Ask, payloads.Body], Awaitable[web.StreamResponse | None]]] = (
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


async def before(ask: Ask) -> web.StreamResponse | None:
    """Faults that come before anything is created: the answer of the first that fires, or None."""
    for trouble in _BEFORE:
        answer = await trouble(ask)
        if answer is not None:
            return answer
    return None


async def after(ask: Ask, body: payloads.Body) -> web.StreamResponse:
    """Faults that befall the answer of a created task; its plain answer if none fires."""
    for trouble in _AFTER:
        answer = await trouble(ask, body)
        if answer is not None:
            return answer
    return answer_json(body)
