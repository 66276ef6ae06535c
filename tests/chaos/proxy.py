"""A TCP proxy between two processes that causes network faults."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self

_PIECE = 64 * 1024
#: Closing with this option sends a reset.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Weather:
    """The faults of all connections from now on."""

    silent: bool = False  #: a black hole: connections stay open, nothing arrives, and neither side gets an error
    refused: bool = False  #: new connections are reset
    delay: float = 0.0  #: seconds of delay of each piece, in both directions
    swallow: int = 0  #: how many of the next answers are dropped, with their connections reset


class Proxy:
    """Forwards 127.0.0.1:`port` to another port. Runs in its own thread; its methods are thread-safe."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._stranded: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self.weather = Weather()
        self.swallowed = self.cut_off = self.held = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """Return how many connections are open."""
        return len(self._pairs)

    def cut(self) -> int:
        """Reset every open connection. Return how many."""
        return self._run(self._cut())

    def strand(self) -> int:
        """Drop all further data of the open connections, which stay open. New connections work.

        This is what happens when a firewall forgets its connections: no reset ever comes. Return how many.
        """
        return self._run(self._strand())

    def clear(self) -> None:
        """End all faults. Silenced connections are reset, because data of theirs is lost."""
        silent, self.weather = self.weather.silent, Weather()
        if silent:
            self.cut()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.weather.refused:
                self.cut_off += 1
                _reset(writer)
                return
            try:
                there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                _reset(writer)
                return
            pair = (writer, there_writer)
            self._pairs.add(pair)
            try:
                there = self._forward(reader, there_writer, answers=False)
                back = self._forward(there_reader, writer, answers=True)
                await asyncio.gather(there, back)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                self._pairs.discard(pair)
                for each in pair:
                    _reset(each)
        finally:
            self._tasks.discard(task)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while piece := await reader.read(_PIECE):
            if self.weather.silent or writer in self._stranded:
                self.held += 1
                continue  # lost: after the fault, data uses another connection
            if answers and self.weather.swallow > 0:
                self.weather.swallow -= 1
                self.swallowed += 1
                raise ConnectionResetError
            if self.weather.delay:
                await asyncio.sleep(self.weather.delay)
            writer.write(piece)
            await writer.drain()
        if writer in self._stranded:
            return
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _cut(self) -> int:
        pairs = list(self._pairs)
        for pair in pairs:
            for each in pair:
                _reset(each)
        self.cut_off += len(pairs)
        return len(pairs)

    async def _strand(self) -> int:
        pairs = list(self._pairs)
        self._stranded.update(writer for pair in pairs for writer in pair)
        return len(pairs)

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
