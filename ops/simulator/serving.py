"""The simulator's process: it listens on one port until it is stopped."""

import asyncio
import os
import signal
from pathlib import Path

from aiohttp import web

from ops.simulator import logs
from ops.simulator.app_keys import LISTENER
from ops.simulator.server import create_app
from ops.simulator.settings import Settings


async def serve(settings: Settings, host: str, port: int, url_file: Path | None) -> None:
    """Serve until SIGINT or SIGTERM. Port 0: any free port.

    The URL is printed, and written to `url_file` atomically.
    """
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    listener = _Listener(runner, host, port)
    app[LISTENER] = listener.refuse_for
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await listener.open()
        url = f"http://{host}:{listener.port}"
        logs.announce(f"listening on {url}")
        if url_file is not None:
            await asyncio.to_thread(_write_atomically, url_file, url)
        await stop.wait()
    finally:
        await runner.cleanup()


class _Listener:
    """The listening socket. It can be closed for a while, so that connections are really refused."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self.port = port
        self._site: web.TCPSite | None = None
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._site = web.TCPSite(self._runner, self._host, self.port, backlog=1024)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    def refuse_for(self, seconds: float) -> None:
        """Refuse connections for this many seconds, and close those that are open."""
        if self._closing is None or self._closing.done():
            self._closing = asyncio.get_running_loop().create_task(self._close_and_reopen(seconds))

    async def _close_and_reopen(self, seconds: float) -> None:
        if self._site is not None:
            await self._site.stop()
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(seconds)
        await self.open()


def _write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)
