"""Fetch a URL from outside within bounds: public hosts only, a deadline, a least rate.

The provider chooses the URLs of results, and a server chooses where it redirects to. Each host on the way is resolved
once, and the connection goes to the address that was checked, so a second answer of DNS cannot change it. A time-out of
a socket starts again with every byte; here every wait also ends by the deadline of the whole download.
"""

import functools
import io
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.exceptions import InvalidURL, TooManyRedirects
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.util import connection as sockets
from urllib3.util.retry import Retry

from boomerang_client.public_hosts import public_addresses
from boomerang_client.sessions import ClosingAdapter, Session
from boomerang_client.stopping import Stop, current_stop, is_stopped, stopped_by

#: Seconds for a whole download with its redirects and repeats; to connect, and to wait for the next bytes.
LONGEST = 900.0
TIMEOUT = (10.0, 60.0)
#: Bytes per second that must arrive on average, after the first seconds.
LEAST_RATE, RATE_AFTER = 4096.0, 30.0
MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class TooSlow(Exception):
    """A download takes longer than it may. It is no OSError, which urllib3 would answer with another try."""


_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def _remaining(deadline: float) -> float:
    if is_stopped():
        raise TooSlow("was stopped")
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TooSlow(f"takes longer than {LONGEST:.0f} s")
    return remaining


class _Reader(io.RawIOBase):
    """The socket's reader: each wait ends by the deadline, and bytes must arrive fast enough, those of headers too."""

    def __init__(self, raw: Any, sock: Any, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self._began, self._size = math.inf, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> "int | None":
        self._sock.settimeout(min(TIMEOUT[1], _remaining(self._deadline)))
        size: int = self._raw.readinto(buffer) or 0
        now = time.monotonic()
        self._began, self._size = min(self._began, now), self._size + size
        if size and now - self._began > RATE_AFTER and self._size < LEAST_RATE * (now - self._began):
            raise TooSlow(f"arrives slower than {LEAST_RATE / 1024:.0f} KiB per second")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        stop = current_stop()
        if stop is not None:
            stop.watch(sock)
        self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock, deadline))


class _Bounded(HTTPConnection):
    """A connection to a public address, unless `private_hosts`, whose answer ends by the deadline."""

    private_hosts = False

    def _new_conn(self) -> Any:
        # A proxy of the environment resolves the names itself, and the user has chosen it.
        if self.private_hosts or self.proxy is not None:
            return super()._new_conn()
        try:
            addresses = public_addresses(self._dns_host, self.port or 0)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"the name {self.host} cannot be resolved: {error}") from error
        failure: OSError = TimeoutError()
        for address in addresses:
            try:
                return sockets.create_connection(
                    (address, self.port or 0),
                    min(TIMEOUT[0], _remaining(_deadline.get())),
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError as error:  # noqa: PERF203 -- the next address may answer
                failure = error
        raise NewConnectionError(self, str(failure)) from failure

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self.response_class = functools.partial(_Response, deadline=_deadline.get())  # type: ignore[assignment]
        super().putrequest(*args, **kwargs)


class _BoundedTLS(_Bounded, HTTPSConnection):
    pass


class _Anywhere(_Bounded):
    private_hosts = True


class _AnywhereTLS(_BoundedTLS):
    private_hosts = True


def _pools(plain: type[HTTPConnection], tls: type[HTTPSConnection]) -> Any:
    return {
        "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("PoolTLS", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


_PUBLIC, _ANY = _pools(_Bounded, _BoundedTLS), _pools(_Anywhere, _AnywhereTLS)


class _Adapter(ClosingAdapter):
    def __init__(self, pools: Any, **options: Any) -> None:
        self._pools = pools
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager


class Downloader:
    """Fetches URLs. It sends no login and no cookie. Proxies are those of the environment."""

    def __init__(self, retry: Retry, connections: int, *, private_hosts: bool) -> None:
        self._session = Session()
        self._session.auth = lambda request: request  # no login, not even from .netrc
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        # Without compression the number of bytes that arrive is the size of the file.
        self._session.headers["Accept-Encoding"] = "identity"
        adapter = _Adapter(_ANY if private_hosts else _PUBLIC, pool_maxsize=connections, max_retries=retry)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> "Iterator[requests.Response]":
        """Yield the answer at the end of all redirects, its body unread. `headers` are sent in addition.

        Raises NotPublic, TooSlow and the errors of requests.
        """
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme not in {"http", "https"}:
                raise InvalidURL("it does not begin with http:// or https://")
            with closing(self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT)) as response:
                target = response.headers.get("Location")
                if response.status_code not in _REDIRECTS or not target:
                    yield response
                    return
                url = urljoin(url, target)
        raise TooManyRedirects(f"more than {MOST_REDIRECTS} redirects")


@contextmanager
def limited_time(stop: Stop) -> Iterator[None]:
    """Let the downloads inside the block together take at most LONGEST seconds, and end when `stop` is set."""
    token = _deadline.set(time.monotonic() + LONGEST)
    try:
        with stopped_by(stop):
            yield
    finally:
        _deadline.reset(token)
