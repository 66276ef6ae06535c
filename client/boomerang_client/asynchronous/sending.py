"""Send the body of a request with aiohttp, and give up when the service takes nothing of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from io import SEEK_END
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # the transport says what to install when aiohttp is missing
    from aiohttp import ClientResponse

_PIECE = 64 * 1024


@dataclass
class _Sending:
    """A body that is sent, when its last piece was taken, and whether that was the last one."""

    body: BinaryIO
    at: float = field(default_factory=time.monotonic)
    over: bool = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while piece := self.body.read(_PIECE):
            self.at = time.monotonic()
            yield piece
        self.over = True


async def send(
    request: Callable[..., Awaitable["ClientResponse"]],
    options: Mapping[str, Any],
    body: BinaryIO | None,
    longest: float,
) -> "ClientResponse":
    """Send a request, with its body from the beginning, and return the answer, its body unread.

    Raises TimeoutError when the service takes nothing of the body for `longest` seconds.
    """
    if body is None:
        return await request(**options)
    size = body.seek(0, SEEK_END)
    body.seek(0)
    sending = _Sending(body)
    headers = {**options["headers"], "Content-Length": str(size)}

    async def begin() -> "ClientResponse":
        return await request(**{**options, "headers": headers, "data": sending.pieces()})

    return await _watched(asyncio.create_task(begin()), sending, longest)


async def _watched(request: "asyncio.Task[ClientResponse]", sending: _Sending, longest: float) -> "ClientResponse":
    """Return the answer. Raises TimeoutError when the service takes nothing of the body for `longest` seconds."""
    try:
        while not request.done():
            await asyncio.wait({request}, timeout=min(1.0, longest))
            if not sending.over and time.monotonic() - sending.at > longest:
                break
    except BaseException:
        request.add_done_callback(_release)  # it may have an answer that nothing else closes
        raise
    finally:
        if not request.done():
            request.cancel()
            await asyncio.wait({request})
    if request.cancelled():
        raise asyncio.TimeoutError
    return request.result()


def _release(request: "asyncio.Task[ClientResponse]") -> None:
    if not request.cancelled() and request.exception() is None:
        request.result().close()
