"""How the client waits, and what it runs in threads. `boomerang_client.asynchronous.execution` is the counterpart."""

import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypeVar

from boomerang_client.local_images import LocalImage
from boomerang_client.ndjson import Lines as Lines
from boomerang_client.ndjson import open_lines as open_lines

Item = TypeVar("Item")
Result = TypeVar("Result")

Call: TypeAlias = Callable[[], Result]
CallById: TypeAlias = Callable[[str], Result]
CallByCursor: TypeAlias = Callable[[str | None], Result]
Reference: TypeAlias = Callable[[LocalImage], str]
Resolve: TypeAlias = Callable[[str, Any], Any]
Sleep: TypeAlias = Callable[[float], None]
Each: TypeAlias = Iterable[Item]

sleep: Sleep = time.sleep


def in_thread(call: Callable[..., Result], *args: Any) -> Result:
    """Call it. The client for asyncio does so in a thread."""
    return call(*args)


def each(items: Each[Item]) -> Generator[Item, None, None]:
    """Iterate over the items."""
    yield from items


class Pool(Generic[Result]):
    """Calls in threads, `at_once` at the same time. Leaving it calls `stop`, which makes them end soon, and waits."""

    def __init__(self, at_once: int, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._threads = ThreadPoolExecutor(at_once, "boomerang-save")
        self._running: set[Future[Result]] = set()

    def __enter__(self) -> "Pool[Result]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._threads.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._running)

    def start(self, call: Callable[..., Result], *args: Any) -> None:
        """Start a call, once a thread is free."""
        self._running.add(self._threads.submit(call, *args))

    def first(self) -> list[Result]:
        """Wait until a call has ended, and return what those that have ended returned."""
        wait(self._running, return_when=FIRST_COMPLETED)
        return self.ended()

    def ended(self) -> list[Result]:
        """Return what the calls that have ended since returned."""
        done = {future for future in self._running if future.done()}
        self._running -= done
        return [future.result() for future in done]
