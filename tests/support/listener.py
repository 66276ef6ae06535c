"""An HTTP server that records what it receives."""

import http.server
import threading
from typing import Any, NamedTuple

from tests.support.http_server import Server


class Received(NamedTuple):
    """A request. `headers` has the names as they were sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Listener:
    """Records every request and answers it. `answers` are the next statuses (then 204), each with `headers`.

    Requests of `refused_paths` are answered with 404.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.refused_paths: set[str] = set()
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = listener.answers.pop(0) if listener.answers else 204
                if self.path in listener.refused_paths:
                    status = 404
                listener.received.append(Received(self.command, self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in listener.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class CountingServer(Server):
            def process_request(self, request: Any, client_address: Any) -> None:
                listener.connections += 1
                super().process_request(request, client_address)

        self._server = CountingServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def callback_url(self, name: str) -> str:
        """Return an address of the form that the service gives to the provider."""
        return f"{self.url}/callbacks/{name}/token"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
