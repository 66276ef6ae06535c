# Written by `make client`, from asynchronous/connection.py. Do not edit.
"""The base of all calls: settings, the transport, and the clock."""

import os
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from boomerang_client.arguments import Query, path_segment, setting
from boomerang_client.errors import NotFound
from boomerang_client.execution import CallById, Sleep, in_thread, sleep
from boomerang_client.ids import spellings
from boomerang_client.image_uploads import ImageUploader
from boomerang_client.parsing.values import read_list
from boomerang_client.public_hosts import is_at_private_address
from boomerang_client.transport import Transport

PAGE = 500  # the service's maximum for ?limit=

Result = TypeVar("Result")


class Connection:
    """A client for one Boomerang service and one key, over HTTP.

    Close it, or use it as a context manager. Threads may share a Client. An AsyncClient is the same for asyncio: it
    belongs to one event loop, whose tasks may share it and may be cancelled.

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
        sleep: Sleep = sleep,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._transport = Transport(
            setting("BOOMERANG_URL", url, environ),
            setting("BOOMERANG_KEY", key, environ),
            timeout=timeout,
            retries=retries,
            backoff=backoff,
        )
        self._clock, self._sleep, self._private_hosts = clock, sleep, private_hosts
        self._images = ImageUploader(self._transport, clock)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.url!r})"

    def _may_call_private_hosts(self) -> bool:
        """Whether images may come from hosts that are not public."""
        if self._private_hosts is None:
            self._private_hosts = in_thread(is_at_private_address, self._transport.url)
        return self._private_hosts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the service."""
        self._transport.close()

    def _list(self, path: str, name: str, params: Query, limit: int | None) -> Generator[Any, None]:
        left = float("inf") if limit is None else limit
        params = params | {"limit": PAGE if limit is None else min(PAGE, max(limit, 1))}
        while left > 0:
            page = self._transport.get(path, params)
            for view in read_list(page, name):
                yield view
                left -= 1
                if left <= 0:
                    return
            if page.get("cursor") is None:
                return
            params["cursor"] = str(page["cursor"])


def try_spellings(id_: str, call: CallById[Result]) -> Result:
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
