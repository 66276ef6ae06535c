"""Serve a `FakeService` over HTTP on loopback."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.fake_boomerang import Events, FakeService, Fault, Refused, Seen
from tests.support.http_server import Server


class FakeServer(Server):
    daemon_threads = False  # closing the server then joins its threads, so none outlives its test

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # tests disconnect clients on purpose
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    disable_nagle_algorithm = True
    service: FakeService

    def do_GET(self) -> None:
        self.handle_it()

    def do_POST(self) -> None:
        self.handle_it()

    def do_HEAD(self) -> None:
        self.handle_it()

    def handle_it(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, parts.path, dict(parse_qsl(parts.query)), parts.query, headers, self.read_body())
        self.service.seen.append(seen)
        self.service.on_request()
        fault = self.service.faults.popleft() if self.service.faults else None
        if fault and not fault.after:
            self.fail(fault)
            return
        try:
            status, view = self.service.answer(seen)
        except Refused as refused:
            status, view = refused.status, refused.problem
        after = {"Retry-After": str(view.pop("after"))} if isinstance(view, dict) and "after" in view else {}
        if fault:
            self.fail(fault)
        elif isinstance(view, list):
            self.stream(view)
        elif isinstance(view, Events):
            self.events(view)
        elif isinstance(view, bytes):
            self.reply(status, {}, view)
        else:
            self.reply(status, {"Content-Type": "application/json", **after}, json.dumps(view).encode())

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):  # a client that breaks off ends the body
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def fail(self, fault: Fault) -> None:
        if fault.status is None:
            self.close_connection = True
        else:
            self.reply(fault.status, fault.headers, fault.body)
            self.close_connection = "Content-Length" in fault.headers  # which is not the body's

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def events(self, stream: Events) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b": still here\n\n")
        for number in range(1000):
            if number == self.service.events_cut_after:
                self.close_connection = True
                return
            view = stream.look(stream.id)
            self.chunk(
                b"event: %s\ndata: %s\n\n" % (b"done" if view["done"] else b"progress", json.dumps(view).encode())
            )
            if view["done"]:
                break
        self.wfile.write(b"0\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def stream(self, views: list[Any]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, view in enumerate(views):
            if number == self.service.results_cut_after:
                self.close_connection = True
                return
            self.chunk(json.dumps(view).encode() + b"\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


@contextmanager
def served(fake: FakeService) -> Iterator[None]:
    """Serve the fake at its `url` until the block ends."""
    server = FakeServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"service": fake}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
