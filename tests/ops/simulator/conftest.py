import asyncio
import base64
import http.server
import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from aiohttp import web
from PIL import Image

from ops.simulator.server import create_app
from ops.simulator.settings import Settings

WaitFor = Callable[[Callable[[], Any]], Any]


def _wait_for(condition: Callable[[], Any], limit: float = 10) -> Any:
    end = time.monotonic() + limit
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return result


@pytest.fixture
def wait_for() -> WaitFor:
    return _wait_for


class Simulator:
    """A running simulator and a client of it."""

    def __init__(self, settings: Settings) -> None:
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = "Bearer key"
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(settings,), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self, settings: Settings) -> None:
        self._loop.run_until_complete(self._serve(settings))
        self._loop.close()

    async def _serve(self, settings: Settings) -> None:
        runner = web.AppRunner(create_app(settings), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def close(self) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def post(self, params: dict[str, Any], model: str = "kirin_image_omni", **how: Any) -> requests.Response:
        how = {"timeout": 5, "allow_redirects": False, **how}
        return self.http.post(
            f"{self.url}/model/v1/generation", json={"model": model, "input": [{"params": params}]}, **how
        )

    def submit(self, external_id: str, **params: Any) -> requests.Response:
        return self.post({"prompt": "a cat", "external_task_id": external_id, **params})

    def look(self, name: str) -> requests.Response:
        return self.http.get(f"{self.url}/model/v1/generation/task/{name}", timeout=5)

    def turn(self, **faults: Any) -> None:
        answer = self.http.put(f"{self.url}/_sim/faults", json=faults, timeout=5)
        assert answer.status_code == 200, answer.text

    def get(self, path: str) -> Any:
        return self.http.get(f"{self.url}{path}", timeout=5).json()

    def fired(self, name: str) -> int:
        return int(self.get("/_sim/stats")["fired"].get(name, 0))

    def ledger(self) -> Any:
        return self.get("/_sim/ledger")

    def created(self, external_id: str) -> int:
        return len(self.get(f"/_sim/tasks?external_task_id={external_id}")["tasks"])


@pytest.fixture
def start() -> Iterator[Callable[..., Simulator]]:
    """start(latency="0", drop_callbacks=1, …) → a simulator with these faults; `settings=` for the rest."""
    running: list[Simulator] = []

    def begin(settings: dict[str, Any] | None = None, **faults: Any) -> Simulator:
        simulator = Simulator(Settings(faults={"latency": "0", **faults}, **(settings or {})))
        running.append(simulator)
        return simulator

    yield begin
    for simulator in running:
        simulator.close()


class Receiver:
    """Takes callbacks. `answers` are the next statuses (then 204); each callback is (path, body)."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.answers.pop(0) if receiver.answers else 204
                receiver.got.append((self.path, body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/callbacks/{name}/token"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def _image(width: int, height: int, kind: str = "PNG", colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


@pytest.fixture
def image() -> Callable[..., bytes]:
    """image(width, height, kind, colour) → a file of one colour."""
    return _image


@pytest.fixture
def image64() -> Callable[..., str]:
    """The same as raw base64."""
    return lambda *args, **kwargs: base64.b64encode(_image(*args, **kwargs)).decode()
