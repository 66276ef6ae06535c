# Written by `make client`, from asynchronous/retrying.py. Do not edit.
"""Retry calls of long operations, which must survive a restart of the service or a time without capacity."""

from collections.abc import Callable
from typing import TypeVar

from boomerang_client.errors import ServiceUnavailable, TooBusy
from boomerang_client.execution import Call, Sleep

Result = TypeVar("Result")

#: Seconds for which long operations wait for a service that is unreachable or accepts no work.
PATIENCE = 600.0
#: Seconds before the first retry when the service names none. They double with each retry, up to the second number.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class PatientCaller:
    """Repeats calls that are safe to repeat, each for up to `patience` seconds.

    It waits out TooBusy from the first call on. It waits out ServiceUnavailable only after one call has succeeded,
    because until then the URL may be wrong. Pass `reached=True` when the URL is known to be right. `on_wait` is called
    with the error and the number of seconds before each pause.
    """

    def __init__(
        self,
        patience: float,
        clock: Callable[[], float],
        sleep: Sleep,
        on_wait: Callable[[Exception, float], None] | None = None,
        *,
        reached: bool = False,
    ) -> None:
        self._patience, self._clock, self._sleep = patience, clock, sleep
        self._on_wait = on_wait or (lambda _error, _seconds: None)
        self._reached = reached

    def __call__(self, call: Call[Result]) -> Result:
        """Return what the call returns. Raises its error when waiting cannot help or `patience` is over."""
        end = self._clock() + self._patience
        pause = _FIRST_PAUSE
        while True:
            try:
                result = call()
            except (TooBusy, ServiceUnavailable) as error:  # noqa: PERF203 -- the loop exists for this error
                seconds = getattr(error, "retry_after", None) or pause
                may_wait = self._reached or isinstance(error, TooBusy)
                if not may_wait or self._clock() + seconds > end:
                    raise
                self._on_wait(error, seconds)
                self._sleep(seconds)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._reached = True
                return result
