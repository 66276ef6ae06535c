"""Send requests to the service with aiohttp: sessions, retries, and errors of this package.

Which requests are repeated is in `boomerang_client.request_retries`, and what an answer means in
`boomerang_client.transport`, for both clients.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

from urllib3.exceptions import MaxRetryError, ProtocolError

from boomerang_client import transport
from boomerang_client.asynchronous import spooling
from boomerang_client.asynchronous.sending import send
from boomerang_client.errors import NotFound, ServiceUnavailable, UsageError
from boomerang_client.ndjson import encode
from boomerang_client.request_retries import JitteredRetry, is_upload, retries_of, sent_once
from boomerang_client.transport import (
    ACCEPT,
    EVENTS_STALL,
    UPLOAD_STALL,
    Params,
    checked_key,
    checked_url,
    is_redirect,
    parsed,
    refusal,
)

try:
    from aiohttp import (
        ClientError,
        ClientResponse,
        ClientSession,
        ClientTimeout,
        ConnectionTimeoutError,
        DummyCookieJar,
        TCPConnector,
    )
    from aiohttp.client_exceptions import ClientSSLError
    from yarl import URL
except ImportError as error:
    raise ImportError("AsyncClient needs aiohttp: pip install 'aiohttp>=3.12,<4'") from error

#: Connections at the same time: for calls; and for what stays open, which are long polls, events and long answers.
CALLS, STREAMS = 32, 100
_PIECE = 64 * 1024
_BROKEN = (ClientError, asyncio.TimeoutError, OSError)


@dataclass(frozen=True)
class _Head:
    """What urllib3's Retry reads of an answer."""

    status: int
    headers: Mapping[str, str]

    def get_redirect_location(self) -> bool:
        return False


class Transport:
    """Sends requests to one service with one key, from one event loop."""

    def __init__(self, url: str, key: str, *, timeout: tuple[float, float], retries: int, backoff: float) -> None:
        self.url = checked_url(url)
        try:
            self._base = str(URL(self.url)).rstrip("/")
        except ValueError as error:
            raise UsageError(f"BOOMERANG_URL ({self.url!r}) is not a URL: {error}.") from error
        self.timeout = timeout
        self._key = checked_key(key)
        self._options = {"timeout": timeout, "retries": retries, "backoff": backoff}
        self._usual, self._uploads, self._never = retries_of(retries, backoff)
        self._calls: ClientSession | None = None
        self._streams: ClientSession | None = None
        self._blocking: transport.Transport | None = None

    def in_threads(self) -> transport.Transport:
        """Return a transport for calls in threads. It is closed with this one."""
        if self._blocking is None:
            self._blocking = transport.Transport(self.url, self._key, **self._options)  # type: ignore[arg-type]
        return self._blocking

    async def close(self) -> None:
        """Close the connections."""
        calls, streams, blocking = self._calls, self._streams, self._blocking
        self._calls = self._streams = self._blocking = None
        for session in (calls, streams):
            if session is not None:
                await session.close()
        if blocking is not None:
            blocking.close()

    async def get(self, path: str, params: Params | None = None) -> Any:
        """GET the path and return the parsed JSON answer."""
        return await self._json("GET", path, params=params, stays_open=bool(params and "wait" in params))

    async def has(self, path: str) -> bool:
        """Return whether something exists at the path."""
        try:
            async with self._send("HEAD", path):
                return True
        except NotFound:
            return False

    async def post(
        self,
        path: str,
        request: Mapping[str, Any] | None = None,
        params: Params | None = None,
        *,
        key: str | None = None,
    ) -> Any:
        """POST a JSON object, or nothing, and return the parsed JSON answer. `key`: the Idempotency-Key."""
        headers = {} if request is None else {"Content-Type": "application/json"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        body = None if request is None else BytesIO(encode(request))
        return await self._json("POST", path, params=params, headers=headers, body=body)

    async def post_bytes(self, path: str, body: bytes, content_type: str) -> Any:
        """POST bytes of another type and return the parsed JSON answer."""
        return await self._json("POST", path, headers={"Content-Type": content_type}, body=BytesIO(body))

    async def post_lines(self, path: str, body: "bytes | Path", params: Params, *, key: str | None = None) -> Any:
        """POST gzipped NDJSON, as bytes or a file, and return the parsed JSON answer. `key`: the Idempotency-Key."""
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        headers |= {} if key is None else {"Idempotency-Key": key}
        with BytesIO(body) if isinstance(body, bytes) else body.open("rb") as file:
            return await self._json("POST", path, params=params, headers=headers, body=file)

    async def events(self, path: str, longest: float = EVENTS_STALL) -> AsyncGenerator[Any, None]:
        """Yield the parsed data of server-sent events as they arrive, and None for each keep-alive.

        Ends when the service ends the stream. Raises ServiceUnavailable when it breaks, or when nothing arrives for
        `longest` seconds. Closing the iterator closes the connection.
        """
        headers = {"Accept": "text/event-stream"}
        try:
            async with self._send("GET", path, headers=headers, stays_open=True, stall=longest) as response:
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n")
                    # Each event has one line of data, which says everything that the event's name says.
                    for line in lines:
                        if line.startswith(b"data:"):
                            yield parsed(line[5:], "An event")
                        elif line.startswith(b":"):
                            yield None
        except _BROKEN as error:
            raise ServiceUnavailable(f"The event stream of {self.url} broke. Try again.") from error

    async def lines(self, path: str, params: Params | None = None) -> AsyncGenerator[Any, None]:
        """Yield the parsed lines of an NDJSON answer. Closing the iterator closes the connection.

        The answer is read as fast as it comes, however slowly the lines are taken.
        """
        number = 0
        try:
            async with (
                self._send("GET", path, params=params, stays_open=True) as response,
                aclosing(spooling.lines(response.content.iter_chunked(_PIECE))) as lines,
            ):
                async for line in lines:
                    if line:
                        number += 1
                        yield parsed(line, f"Line {number} of the answer")
        except _BROKEN as error:
            raise ServiceUnavailable(
                f"The answer of {self.url} broke off after {number} lines. Try again: it starts from the beginning."
            ) from error

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        async with self._send(method, path, **options) as response:
            try:
                body = await response.read()
            except _BROKEN as error:
                raise _unavailable(error, self.url) from error
        return parsed(body, f"The answer of {self.url}")

    @asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        body: BinaryIO | None = None,
        stays_open: bool = False,
        stall: float | None = None,
    ) -> AsyncIterator[ClientResponse]:
        """Yield the answer, its body unread. Repeats the request as the other client does."""
        session = self._session(stays_open=stays_open)
        options = {
            "headers": headers or {},
            "allow_redirects": False,
            "timeout": ClientTimeout(total=None, sock_connect=self.timeout[0], sock_read=stall or self.timeout[1]),
        }
        url = URL(f"{self._base}{path}{'?' + urlencode(params, doseq=True) if params else ''}", encoded=True)
        stall_after = max(self.timeout[0], UPLOAD_STALL)
        retry = self._retry_for(method, path, has_body=body is not None)
        while True:
            try:
                response = await send(partial(session.request, method, url), options, body, stall_after)
            except _BROKEN as error:
                again = _next(retry, method, path, error=ProtocolError(str(error)))
                if again is None:
                    raise _unavailable(error, self.url) from error
                pause = again.get_backoff_time()
            else:
                try:
                    head = _Head(response.status, response.headers)
                    again = _next(retry, method, path, response=head)
                    if again is None:
                        if response.ok and not is_redirect(head.status, head.headers):
                            yield response
                            return
                        raise refusal(head.status, head.headers, await _body_of(response), self.url)
                    pause = again.pause_after(head) or again.get_backoff_time()
                finally:
                    response.release()  # an answer that was not read to its end closes its connection
            retry = again
            await asyncio.sleep(pause)

    def _session(self, *, stays_open: bool) -> ClientSession:
        if stays_open:
            self._streams = self._streams or self._open(STREAMS)
            return self._streams
        self._calls = self._calls or self._open(CALLS)
        return self._calls

    def _open(self, connections: int) -> ClientSession:
        # Ignore proxies and .netrc of the environment: the latter would replace the key. Keep no cookies.
        return ClientSession(
            connector=TCPConnector(limit=connections),
            cookie_jar=DummyCookieJar(),
            trust_env=False,
            headers={"Authorization": f"Bearer {self._key}", "Accept": ACCEPT},
        )

    def _retry_for(self, method: str, path: str, *, has_body: bool) -> JitteredRetry:
        if sent_once(path, has_body=has_body):
            return self._never
        return self._uploads if is_upload(method, path) else self._usual


def _next(retry: JitteredRetry, method: str, path: str, **outcome: Any) -> "JitteredRetry | None":
    """Return the retries that are left after an outcome, or None when it is final."""
    head = outcome.get("response")
    if head is not None and not retry.is_retry(method, head.status, "Retry-After" in head.headers):
        return None
    try:
        return retry.increment(method, path, _pool=None, **outcome)
    except (MaxRetryError, ProtocolError):
        return None


async def _body_of(response: ClientResponse) -> bytes:
    try:
        return await response.read()
    except _BROKEN:
        return b""


def _unavailable(error: Exception, url: str) -> ServiceUnavailable:
    if isinstance(error, ConnectionTimeoutError):
        why = f"{url} cannot be reached: the connection timed out."
    elif isinstance(error, asyncio.TimeoutError):
        why = f"{url} did not answer in time."
    elif isinstance(error, ClientSSLError):
        why = f"{url} cannot be reached: TLS failed (its certificate or settings)."
    else:
        why = f"{url} cannot be reached, or the connection broke."
    return ServiceUnavailable(f"{why} Check BOOMERANG_URL and the service.")
