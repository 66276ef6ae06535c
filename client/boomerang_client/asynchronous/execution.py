"""How the client for asyncio waits, and what it runs in threads. `boomerang_client.execution` is its counterpart.

The other modules of this folder are written once: `make client` generates the client without asyncio from them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeAlias, TypeVar, cast

from boomerang_client.local_images import LocalImage
from boomerang_client.ndjson import Line, Numbered, number_lines, open_file

Item = TypeVar("Item")
Result = TypeVar("Result")

Call: TypeAlias = Callable[[], Awaitable[Result]]
CallById: TypeAlias = Callable[[str], Awaitable[Result]]
CallByCursor: TypeAlias = Callable[[str | None], Awaitable[Result]]
Reference: TypeAlias = Callable[[LocalImage], Awaitable[str]]
Resolve: TypeAlias = Callable[[str, Any], Awaitable[Any]]
Sleep: TypeAlias = Callable[[float], Awaitable[None]]
Each: TypeAlias = AsyncIterable[Item] | Iterable[Item]
#: A batch's lines, from which an asynchronous generator may be, too.
AsyncLines: TypeAlias = AsyncIterable[Line | Numbered] | Iterable[Line | Numbered] | Path | BinaryIO

sleep: Sleep = asyncio.sleep

#: Lines of a file that a thread reads at once, and the seconds that it may take. A pipe may be slow.
_GROUP, _GROUP_SECONDS = 500, 0.05
#: Items of an iterable after which other tasks get their turn.
_TURN = 50


async def in_thread(call: Callable[..., Result], *args: Any) -> Result:
    """Run a call that blocks, for a short time, in a thread."""
    return await asyncio.to_thread(call, *args)


async def each(items: Each[Item]) -> AsyncGenerator[Item, None]:
    """Yield the items. Other tasks get their turn between them."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for number, item in enumerate(items):
        if number % _TURN == 0:
            await asyncio.sleep(0)
        yield item


@asynccontextmanager
async def open_lines(lines: AsyncLines) -> AsyncIterator[AsyncIterator[Numbered]]:
    """Yield the numbered lines of a batch, as `ndjson.open_file` does. A file is read in a thread."""
    if isinstance(lines, AsyncIterable):
        yield _numbered(lines)
    elif isinstance(lines, Path) or hasattr(lines, "read"):
        opened = open_file(cast("Path | BinaryIO", lines))
        numbered = await asyncio.to_thread(opened.__enter__)
        try:
            yield _from_thread(numbered)
        finally:
            opened.__exit__(None, None, None)
    else:
        yield each(number_lines(lines))


async def _numbered(lines: AsyncIterable[Line | Numbered]) -> AsyncGenerator[Numbered, None]:
    number = 0
    async for line in lines:
        number += 1
        yield next(number_lines([line], number))


async def _from_thread(items: Iterator[Item]) -> AsyncGenerator[Item, None]:
    def group() -> tuple[list[Item], BaseException | None]:
        end, found = time.monotonic() + _GROUP_SECONDS, list[Item]()
        try:
            for item in items:
                found.append(item)
                if len(found) == _GROUP or time.monotonic() > end:
                    break
        except Exception as error:  # noqa: BLE001 -- raised below, after the items before it
            return found, error
        return found, None

    found, error = await asyncio.to_thread(group)
    while found and error is None:
        for item in found:
            yield item
        found, error = await asyncio.to_thread(group)
    for item in found:
        yield item
    if error is not None:
        raise error


class Pool(Generic[Result]):
    """Calls in threads, `at_once` at the same time. Leaving it calls `stop`, which makes them end soon, and waits."""

    def __init__(self, at_once: int, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._threads = ThreadPoolExecutor(at_once, "boomerang-save")
        self._running: set[asyncio.Future[Result]] = set()

    async def __aenter__(self) -> "Pool[Result]":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._running:
            await asyncio.wait(self._running)
        for future in self._running:
            if not future.cancelled():
                future.exception()  # retrieved, so that asyncio does not log it

    def __len__(self) -> int:
        return len(self._running)

    def start(self, call: Callable[..., Result], *args: Any) -> None:
        """Start a call, once a thread is free."""
        self._running.add(asyncio.get_running_loop().run_in_executor(self._threads, call, *args))

    async def first(self) -> list[Result]:
        """Wait until a call has ended, and return what those that have ended returned."""
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return self.ended()

    def ended(self) -> list[Result]:
        """Return what the calls that have ended since returned."""
        done = {future for future in self._running if future.done()}
        self._running -= done
        return [future.result() for future in done]
