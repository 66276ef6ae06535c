"""HTTP calls that end by a deadline, however slowly the peer reads or answers.

A socket's time-out starts again with every byte. It stops neither an answer that arrives byte by byte nor a peer that
reads the request slowly. The look-up of a name has no time-out, and each of its addresses may take the whole time to
connect. Here every wait is limited to the time that is left of the whole call.
"""

import functools
import io
import math
import re
import socket
import time
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from ipaddress import ip_address
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from worker.http.name_lookup import bounded


class Deadline:
    """The monotonic time by which a call must end. Whoever reads an answer may move it while the call runs."""

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left. Raises `TimeoutError`."""
        remaining = self.at - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the call did not end by its deadline")
        return remaining


#: The deadline of the current call of this thread.
DEADLINE: ContextVar[Deadline] = ContextVar("DEADLINE")
#: Bytes passed to the socket at once, because TLS restarts the time-out for every record.
_PIECE = 16 * 1024
#: The message of http.client for a tunnel that was refused.
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})")


def _seconds(timeout: Any) -> float:
    return float(timeout) if isinstance(timeout, int | float) else math.inf


class _Reader(io.RawIOBase):
    """The socket's reader, with each wait limited by the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._deadline.remaining())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, deadline: Deadline, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Reader(raw, sock, deadline))


class TunnelFailed(NewConnectionError):
    """A proxy did not open a tunnel, so nothing was sent through it. `status`: the proxy's answer, or None."""

    def __init__(self, connection: HTTPConnection, message: str) -> None:
        super().__init__(connection, message)
        status = _TUNNEL_STATUS.search(message)
        self.status = int(status[1]) if status else None


class _Bounded(HTTPConnection):
    _deadline: Deadline

    def connect(self) -> None:
        # Before the connection, because a tunnel through a proxy is a request and a response, too.
        self._limit()
        super().connect()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._limit()
        super().putrequest(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        self._limit()
        name, timeout = self._dns_host, self.timeout
        problem: Exception = NewConnectionError(self, "the name has no address")
        try:
            for address in self._addresses(name):
                self._dns_host = address
                self.timeout = min(_seconds(timeout), self._deadline.remaining())
                try:
                    return super()._new_conn()
                except (NewConnectionError, ConnectTimeoutError) as error:
                    problem = error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error
        finally:
            self._dns_host, self.timeout = name, timeout
        raise problem

    def _addresses(self, name: str) -> list[str]:
        """Look up a name by the deadline. An address is its own."""
        try:
            return [str(ip_address(name.strip("[]")))]
        except ValueError:
            pass
        try:
            name.encode("idna")
        except UnicodeError:
            return [name]  # urllib3 raises the error for it
        try:
            found = bounded(
                lambda: socket.getaddrinfo(name, self.port, allowed_gai_family(), socket.SOCK_STREAM),
                self._deadline.at,
            )
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        return [str(entry[4][0]) for entry in found]

    def _limit(self) -> None:
        self._deadline = DEADLINE.get()
        self.response_class = functools.partial(_Response, deadline=self._deadline)  # type: ignore[assignment]

    def _tunnel(self) -> None:
        try:
            super()._tunnel()
        except (OSError, HTTPException) as error:
            raise TunnelFailed(self, str(error)) from error

    def send(self, data: Any) -> None:
        for start in range(0, len(data), _PIECE):
            if self.sock is not None:
                self.sock.settimeout(self._deadline.remaining())
            super().send(data[start : start + _PIECE])


class _BoundedTLS(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLS


_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _PoolTLS}


class BoundedAdapter(HTTPAdapter):
    """An adapter whose calls end by DEADLINE, which must be set. Calls through a proxy do, too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools create bounded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:
        """Make the pools of a proxy create bounded connections."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager
