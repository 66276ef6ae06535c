"""Look-ups of names that end by a deadline.

`getaddrinfo` has no time-out: a name server that does not answer can hold it for a minute. So it runs in a thread of
its own, which is left behind when the time is over.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")

#: Most look-ups of a process at once, with those that were left behind.
MOST = 256
_free = threading.BoundedSemaphore(MOST)


def bounded(look_up: Callable[[], _T], deadline: float) -> _T:
    """Return the result of a look-up, or raise its error. Raises `TimeoutError` at the deadline (monotonic time)."""
    if not _free.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError("too many names are being looked up")
    done: Future[_T] = Future()

    def run() -> None:
        try:
            done.set_result(look_up())
        except Exception as error:  # noqa: BLE001 - the caller gets it
            done.set_exception(error)
        finally:
            _free.release()

    # A daemon: one that hangs does not keep the process from ending.
    threading.Thread(target=run, name="boomerang-look-up", daemon=True).start()
    return done.result(timeout=max(0.0, deadline - time.monotonic()))
