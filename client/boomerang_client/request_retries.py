"""Which requests are repeated, after which answers, and after how long. For both clients."""

import time
from collections.abc import Callable, Mapping
from secrets import SystemRandom
from typing import Any, TypeAlias

from urllib3.exceptions import InvalidHeader, MaxRetryError, ResponseError
from urllib3.util.retry import Retry

from boomerang_client.stopping import is_stopped

BACKOFF_MAX = 20.0
RETRY_AFTER_MAX = 60.0
#: Statuses of a service, or a proxy before it, that is temporarily unavailable.
UNAVAILABLE = (502, 503, 504)
#: Ends of paths that are never repeated here: a second retry would mean more, and readers of events reconnect.
SENT_ONCE = ("/retry", "/events")
Uniform: TypeAlias = Callable[[float, float], float]
_uniform: Uniform = SystemRandom().uniform


def full_jitter(longest: float, uniform: Uniform = _uniform) -> float:
    """Return a random number of seconds between 0 and `longest`, so that clients do not repeat at the same moment.

    Source: "full jitter" in Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return uniform(0, longest)


def pause_before(repeat: int, backoff: float, uniform: Uniform = _uniform) -> float:
    """Return the number of seconds to wait before repeat 1, 2, …: full jitter of an exponential backoff."""
    return full_jitter(min(BACKOFF_MAX, backoff * 2.0 ** min(repeat - 1, 60)), uniform)


class JitteredRetry(Retry):
    """Retries with full jitter: before repeat k it waits a random time, up to backoff × 2^(k-1) seconds.

    The maximum is BACKOFF_MAX. (urllib3's `backoff_jitter` only adds to a fixed wait, and its first repeat is
    immediate.) A `Retry-After` is honoured up to RETRY_AFTER_MAX. A longer one is returned to the caller, who can
    decide how to wait.
    """

    def get_backoff_time(self) -> float:
        return pause_before(max(1, len(self.history)), self.backoff_factor)

    def get_retry_after(self, response: Any) -> float | None:
        try:
            return super().get_retry_after(response)
        except InvalidHeader:
            return None

    def sleep_for_retry(self, response: Any) -> bool:
        # Clients that got the same Retry-After must not all return at the same moment.
        after = self.pause_after(response)
        if after:
            time.sleep(after)
        return bool(after)

    def pause_after(self, response: Any) -> float:
        """Return the number of seconds to wait as an answer says, 0 if it says nothing."""
        after = self.get_retry_after(response)
        return after + full_jitter(min(after, self.backoff_factor)) if after else 0

    def sleep(self, response: Any = None) -> None:
        if not is_stopped():
            super().sleep(response)

    def increment(self, *args: Any, **kwargs: Any) -> "JitteredRetry":
        if is_stopped():
            raise MaxRetryError(kwargs["_pool"], str(args[1]), ResponseError("it was stopped"))
        response = kwargs.get("response")
        if response is not None and (self.get_retry_after(response) or 0) > RETRY_AFTER_MAX:
            raise MaxRetryError(kwargs["_pool"], str(args[1]), ResponseError("Retry-After is too long to wait here"))
        return super().increment(*args, **kwargs)


class UploadRetry(JitteredRetry):
    """Retries an upload while the service is unavailable, but not while it accepts no work (429)."""

    RETRY_AFTER_STATUS_CODES = frozenset({503})


def sent_once(path: str, *, has_body: bool) -> bool:
    """Return whether a request is never repeated. A retry with a corrected request changes nothing when repeated."""
    return path.endswith(SENT_ONCE) and not has_body


def is_upload(method: str | None, path: str) -> bool:
    """Return whether a request uploads lines of a batch."""
    return path.endswith("/batches") and method == "POST"


def retries_of(retries: int, backoff: float) -> tuple[JitteredRetry, JitteredRetry, JitteredRetry]:
    """Return how requests are repeated: most, uploads, and those that are not."""
    # POSTs are repeated too, because the client generates their ids.
    options: Mapping[str, Any] = {"allowed_methods": None, "backoff_factor": backoff, "raise_on_status": False}
    usual = JitteredRetry(retries, status_forcelist=(429, *UNAVAILABLE), **options)
    return usual, UploadRetry(retries, status_forcelist=UNAVAILABLE, **options), JitteredRetry(0, read=False)
