"""End requests that wait in other threads."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


class Stop(threading.Event):
    """Whether requests shall end. `set` also ends those that wait for bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: WeakSet[Any] = WeakSet()

    def set(self) -> None:
        super().set()
        for one in list(self._sockets):
            with suppress(OSError):  # it is closed
                one.shutdown(socket.SHUT_RDWR)

    def watch(self, sock: Any) -> None:
        """End the waits of a socket, too."""
        self._sockets.add(sock)
        if self.is_set():
            self.set()


_current: ContextVar["Stop | None"] = ContextVar("stop", default=None)


@contextmanager
def stopped_by(stop: Stop) -> Iterator[None]:
    """Let `stop` end the requests inside the block."""
    token = _current.set(stop)
    try:
        yield
    finally:
        _current.reset(token)


def current_stop() -> "Stop | None":
    """Return what ends the requests of this thread."""
    return _current.get()


def is_stopped() -> bool:
    """Return whether the requests of this thread shall end."""
    stop = _current.get()
    return stop is not None and stop.is_set()


class _Watching(HTTPConnection):
    """A connection whose waits the current Stop ends."""

    def getresponse(self) -> Any:
        stop = _current.get()
        if stop is not None:
            stop.watch(self.sock)
        return super().getresponse()


class _WatchingTLS(_Watching, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watching


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _WatchingTLS


#: Pools of connections that can be stopped, for a urllib3 PoolManager.
POOLS = {"http": _Pool, "https": _PoolTLS}
