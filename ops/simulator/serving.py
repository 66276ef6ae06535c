"""The simulator's process: one port, until it is stopped."""

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
    """Run until SIGINT or SIGTERM. Port 0: any free one; the address goes to stdout, and to `url_file` in one piece."""
    app = create_app(settings)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    door = _Door(runner, host, port)
    app[LISTENER] = door.shut_for
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await door.open()
        url = f"http://{host}:{door.port}"
        logs.say(f"listening on {url}")
        if url_file is not None:
            await asyncio.to_thread(_write_whole, url_file, url)
        await stop.wait()
    finally:
        await runner.cleanup()


class _Door:
    """The listening socket, which can be shut for a while so that connections are truly refused."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self.port = port
        self._site: web.TCPSite | None = None
        self._shut: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._site = web.TCPSite(self._runner, self._host, self.port, backlog=1024)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    def shut_for(self, seconds: float) -> None:
        """Refuse connections for that long, and cut those that are open."""
        if self._shut is None or self._shut.done():
            self._shut = asyncio.get_running_loop().create_task(self._shut_and_open(seconds))

    async def _shut_and_open(self, seconds: float) -> None:
        if self._site is not None:
            await self._site.stop()
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(seconds)
        await self.open()


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)
