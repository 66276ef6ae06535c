"""The base of all calls: settings, the transport, the clock, and how arguments are written in URLs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TypeAlias, TypeVar
from urllib.parse import quote

from boomerang_client.errors import (
    BoomerangError,
    NotFound,
    ServiceUnavailable,
    TooBusy,
    UnexpectedAnswer,
    UsageError,
)
from boomerang_client.ids import spellings
from boomerang_client.image_uploads import ImageUploader
from boomerang_client.public_hosts import is_at_private_address
from boomerang_client.records import Batch
from boomerang_client.transport import Transport

Query: TypeAlias = dict[str, str | int | float | list[str]]
Result = TypeVar("Result")


class Connection:
    """A client for one Boomerang service and one key, over HTTP.

    Close it, or use it as a context manager. Threads may share it. For asyncio, call it in a thread:
    `await asyncio.to_thread(client.enqueue, request)`.

    `url` and `key` default to the environment variables BOOMERANG_URL and BOOMERANG_KEY. `timeout` is the number of
    seconds to connect, and to wait for each part of an answer. A call that is cut off, or answered with 429, 502, 503
    or 504, is repeated up to `retries` times. The pause before repeat k is random (full jitter), up to
    `backoff` × 2^(k-1) seconds; a Retry-After of up to a minute is honoured.

    Images are saved from public hosts only, unless `private_hosts`, or the service itself is at a private address.

    Every method may raise ServiceUnavailable, UnexpectedAnswer and ApiError. `boomerang_client.errors` lists all
    errors.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: tuple[float, float] = (3.05, 65),
        *,
        retries: int = 4,
        backoff: float = 0.5,
        private_hosts: bool | None = None,
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
        self._clock, self._sleep, self._private_hosts = clock, sleep, private_hosts
        self._images = ImageUploader(self._transport, clock)

    def __repr__(self) -> str:
        return f"Client({self._transport.url!r})"

    @property
    def _may_call_private_hosts(self) -> bool:
        """Whether images may come from hosts that are not public."""
        if self._private_hosts is None:
            self._private_hosts = is_at_private_address(self._transport.url)
        return self._private_hosts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the service."""
        self._transport.close()


@contextmanager
def attach_repeat_id(id_: str) -> Iterator[None]:
    """Add `repeat_id` to errors after which the service has accepted work, or may have."""
    try:
        yield
    except BoomerangError as error:
        # An earlier try may have been accepted although the last one failed.
        if error.enqueued or isinstance(error, ServiceUnavailable | TooBusy | UnexpectedAnswer):
            error.repeat_id = id_
        raise


def try_spellings(id_: str, call: Callable[[str], Result]) -> Result:
    """Call with the id as a segment of a path; again with the other case of a ULID, if nothing has the first.

    A NotFound means that the call changed nothing, so the second one is safe. Raises UsageError for what is not an id.
    """
    first, *others = map(path_segment, spellings(id_))
    try:
        return call(first)
    except NotFound:
        if others:
            with suppress(NotFound):
                return call(others[0])
        raise


def path_segment(id_: str) -> str:
    """Quote an id for use as one segment of a URL's path."""
    return quote(id_, safe="", errors="surrogatepass")


def id_of(batch: "str | Batch") -> str:
    """Return a batch's id."""
    return batch.id if isinstance(batch, Batch) else batch


def label_params(labels: Mapping[str, str] | None) -> list[str]:
    """Write labels for a query: `name=value` each."""
    return [f"{name}={value}" for name, value in (labels or {}).items()]


def batch_options(
    id_: str | None,
    *,
    labels: Mapping[str, str] | None,
    priority: str | None,
    weight: int | None,
    max_cost: Decimal | str | None,
    on_error: str | None,
    paused: bool,
    pilot: int | None,
    callback_url: str | None,
) -> Query:
    """Write the options of an upload for its query."""
    return query(
        id=id_,
        on_error=on_error,
        label=label_params(labels),
        priority=priority,
        weight=weight,
        max_cost=None if max_cost is None else str(max_cost),
        paused="true" if paused else None,
        pilot=pilot,
        callback_url=callback_url,
    )


def to_iso(value: datetime | None) -> str | None:
    """Write a time in ISO 8601. A time without a time zone is in this machine's."""
    if value is None:
        return None
    return (value if value.tzinfo else value.astimezone()).isoformat()


def query(**params: "str | int | float | list[str] | None") -> Query:
    """Return the parameters that have a value."""
    return {name: value for name, value in params.items() if value is not None and value != []}


def _setting(name: str, given: str | None, environ: Mapping[str, str]) -> str:
    value = given if given is not None else environ.get(name, "")
    if not value.strip():
        raise UsageError(f"{name} is not set. Set it in the environment, or pass it to the client.")
    return value
