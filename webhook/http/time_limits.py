"""A limit on how long a request body may take to arrive.

gunicorn limits only the silence between two bytes (`webhook.gunicorn_conf.SILENCE`), so that a client that sends a byte
now and then could occupy a thread for hours.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from flask import Request

#: Seconds between two checks of all limits. A body may take so much longer.
INTERVAL = 0.5


class TimeLimits:
    """Ends the input of connections that take too long. Safe for threads; one daemon thread checks all of them.

    A timer for each request would start a thread for each callback.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[socket.socket, float] = {}
        self._checker: threading.Thread | None = None

    @contextmanager
    def limit(self, request: Request, seconds: float) -> Iterator[None]:
        """Let the client send for `seconds` at most: after that, reads in the block find the end of the input.

        The answer can still be sent. Without gunicorn's socket (Flask's test client) there is no limit.
        """
        connection = request.environ.get("gunicorn.socket")
        if connection is None:
            yield
            return
        with self._lock:
            self._ends[connection] = self._clock() + seconds
            if self._checker is None:  # not at import: threads do not survive gunicorn's fork
                self._checker = threading.Thread(target=self._check_always, name="body time limits", daemon=True)
                self._checker.start()
        try:
            yield
        finally:
            with self._lock:
                del self._ends[connection]

    def _check_always(self) -> None:
        while True:
            time.sleep(INTERVAL)
            # Under the lock: later, the connection may belong to the next request.
            with self._lock:
                now = self._clock()
                for connection, end in self._ends.items():
                    if now > end:
                        with suppress(OSError):  # the client is gone
                            connection.shutdown(socket.SHUT_RD)
