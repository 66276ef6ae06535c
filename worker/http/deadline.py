"""HTTP calls that end by a deadline, however slowly the peer reads or answers.

A socket's time-out starts again with every byte. It stops neither an answer that arrives byte by byte nor a peer that
reads the request slowly. Here every wait is limited to the time that is left of the whole call.
"""

import functools
import io
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from socket import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

#: The monotonic time by which the current call of this thread must end.
DEADLINE: ContextVar[float] = ContextVar("DEADLINE")
#: Bytes passed to the socket at once, because TLS restarts the time-out for every record.
_PIECE = 16 * 1024


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the call did not end by its deadline")
    return remaining


class _Reader(io.RawIOBase):
    """The socket's reader, with each wait limited by the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(_remaining(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Reader(raw, sock, deadline))


class _Bounded(HTTPConnection):
    _deadline = 0.0

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._deadline = DEADLINE.get()
        self.response_class = functools.partial(_Response, deadline=self._deadline)  # type: ignore[assignment]
        super().putrequest(*args, **kwargs)

    def send(self, data: Any) -> None:
        for start in range(0, len(data), _PIECE):
            if self.sock is not None:
                self.sock.settimeout(_remaining(self._deadline))
            super().send(data[start : start + _PIECE])


class _BoundedTLS(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _BoundedTLS


class BoundedAdapter(HTTPAdapter):
    """An adapter whose calls end by DEADLINE, which must be set."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools create bounded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
