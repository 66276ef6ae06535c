"""Patience beyond single calls: a long piece of work outlives a service that restarts or takes nothing in."""

from collections.abc import Callable
from typing import TypeVar

from boomerang_client.errors import ServiceUnavailable, TooBusy

Answer = TypeVar("Answer")

#: Seconds for which long pieces of work wait for a service that is away or takes nothing in.
PATIENCE = 600.0
#: Seconds between two tries where the service names none, doubled each time up to the second.
_FIRST, _LONGEST = 1.0, 30.0


class Steady:
    """Repeats calls that are safe to repeat, each for up to `patience` seconds.

    Being too busy is waited for from the first call on; being away only once a call has succeeded, since before
    that the address may be wrong (`reached`: it is known to be right). `on_wait` is told the error and the seconds
    before each wait.
    """

    def __init__(
        self,
        patience: float,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        on_wait: Callable[[Exception, float], None] | None = None,
        *,
        reached: bool = False,
    ) -> None:
        self._patience, self._clock, self._sleep = patience, clock, sleep
        self._on_wait = on_wait or (lambda _error, _seconds: None)
        self._reached = reached

    def __call__(self, call: Callable[[], Answer]) -> Answer:
        """The call's answer. Raises what it raises when it is no use to wait, or has been long enough."""
        end = self._clock() + self._patience
        pause = _FIRST
        while True:
            try:
                answer = call()
            except (TooBusy, ServiceUnavailable) as error:  # noqa: PERF203 -- that is what it is for
                wait = getattr(error, "retry_after", None) or pause
                known = self._reached or isinstance(error, TooBusy)
                if not known or self._clock() + wait > end:
                    raise
                self._on_wait(error, wait)
                self._sleep(wait)
                pause = min(2 * pause, _LONGEST)
            else:
                self._reached = True
                return answer
