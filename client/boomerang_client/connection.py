"""What all calls of a client share: the way to the service, the clock, and how arguments are written in a URL."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import TypeAlias
from urllib.parse import quote

from boomerang_client.errors import ServiceUnavailable, TooBusy, UnexpectedAnswer, UsageError
from boomerang_client.image_uploads import Pictures
from boomerang_client.records import Batch
from boomerang_client.transport import Transport

Query: TypeAlias = dict[str, str | int | float | list[str]]


class Connection:
    """Boomerang over HTTP. Close it, or use it as a context manager.

    `url` and `key` default to the environment's BOOMERANG_URL and BOOMERANG_KEY. `timeout`: seconds to connect and to
    wait for (each part of) an answer. Calls cut off, or answered with 429, 502, 503 or 504, are repeated `retries`
    times with full jitter of up to `backoff` × 2^k seconds, honouring a Retry-After of up to a minute.

    Errors: see `boomerang_client.errors`; every method may raise ServiceUnavailable, UnexpectedAnswer and ApiError.
    It may be shared by threads. For asyncio: `await asyncio.to_thread(client.enqueue, request)`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: tuple[float, float] = (3.05, 65),
        *,
        retries: int = 4,
        backoff: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._transport = Transport(
            _setting("BOOMERANG_URL", url, environ),
            _setting("BOOMERANG_KEY", key, environ),
            timeout=timeout,
            retries=retries,
            backoff=backoff,
        )
        self._clock, self._sleep = clock, sleep
        self._pictures = Pictures(self._transport, clock)

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


@contextmanager
def repeatable_as(id_: str) -> Iterator[None]:
    """Names the id under which the work may have been taken in, where an error leaves that open."""
    try:
        yield
    except (ServiceUnavailable, TooBusy, UnexpectedAnswer) as error:
        # One of the tries may have been taken in although the last one was not.
        error.repeat_id = id_
        raise


def part(id_: str) -> str:
    """An id as a part of a path; raises UsageError."""
    # "." and ".." would be resolved as folders on the way.
    if id_ in {"", ".", ".."}:
        raise UsageError(f"{id_!r} is not an id.")
    return quote(id_, safe="")


def id_of(batch: "str | Batch") -> str:
    """A batch's id."""
    return batch.id if isinstance(batch, Batch) else batch


def label_params(labels: Mapping[str, str] | None) -> list[str]:
    """Labels as the query has them, `key=value` each."""
    return [f"{key}={value}" for key, value in (labels or {}).items()]


def moment(value: datetime | None) -> str | None:
    """ISO 8601; a time without a zone is this machine's."""
    if value is None:
        return None
    return (value if value.tzinfo else value.astimezone()).isoformat()


def present(**params: "str | int | float | list[str] | None") -> Query:
    """The parameters that are given."""
    return {name: value for name, value in params.items() if value is not None and value != []}


def _setting(name: str, given: str | None, environ: Mapping[str, str]) -> str:
    value = given if given is not None else environ.get(name, "")
    if not value.strip():
        raise UsageError(f"{name} is not set. Set it in the environment, or give it to the client.")
    return value
