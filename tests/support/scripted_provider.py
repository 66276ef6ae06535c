"""A provider whose refusals and tasks the test writes."""

import http.server
import json
import threading
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from tests.support.http_server import Server

OUTPUT = [{"content": [{"type": "image", "url": "https://cdn.example.com/1.png"}]}]


class ScriptedProvider:
    """Answers submissions with `answers` in turn, the last one for ever: (status, body) each.

    `tasks`: what the status endpoint knows, by external id. `lookup_status`: its status while it is away.
    `clock_ahead`: seconds by which its clock differs; None: its answers have no time.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.lookup_status: int | None = None
        self.clock_ahead: float | None = 0.0
        self.now = 0.0
        self.submitted: list[str] = []
        self.looked_up: list[str] = []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.submitted.append(sent["input"][0]["params"]["external_task_id"])
                self.reply(*provider.answers[min(len(provider.submitted), len(provider.answers)) - 1])

            def do_GET(self) -> None:
                name = unquote(self.path.rpartition("/")[2])
                provider.looked_up.append(name)
                if provider.lookup_status is not None:
                    self.reply(provider.lookup_status, {})
                elif name in provider.tasks:
                    self.reply(200, provider.tasks[name])
                else:
                    self.reply(404, {"error": {"code": "1203", "message": "not found"}})

            def reply(self, status: int, answer: Any) -> None:
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response_only(status)
                if provider.clock_ahead is not None:
                    self.send_header("Date", formatdate(provider.now + provider.clock_ahead, usegmt=True))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
