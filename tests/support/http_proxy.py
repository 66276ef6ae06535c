"""A small HTTP proxy: it opens tunnels (CONNECT) and forwards requests (an absolute URL)."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class HttpProxy:
    """A proxy on a port of its own. `authorization`: the only Proxy-Authorization that it accepts; None: all.

    `hosts`: addresses of names that only the proxy can resolve.
    """

    def __init__(self, authorization: str | None = None, hosts: Mapping[str, str] | None = None) -> None:
        #: `host:port` of each tunnel, and method and URL of each forwarded request.
        self.tunnels: list[str] = []
        self.forwarded: list[tuple[str, str]] = []
        self.authorization = authorization
        self.hosts = dict(hosts or {})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def _handler(proxy: HttpProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            if self._is_refused():
                return
            proxy.tunnels.append(self.path)
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((proxy.hosts.get(host, host), int(port)), 5) as upstream:
                self.send_response(200, "Connection established")
                self.end_headers()
                back = threading.Thread(target=_relay, args=(upstream, self.connection), daemon=True)
                back.start()
                _relay(self.connection, upstream)
                back.join(5)
            self.close_connection = True

        def do_POST(self) -> None:
            if self._is_refused():
                return
            proxy.forwarded.append((self.command, self.path))
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            host = parts.hostname or ""
            onward = http.client.HTTPConnection(proxy.hosts.get(host, host), parts.port, timeout=5)
            with contextlib.closing(onward):
                onward.request(self.command, parts.path, body, headers)
                answer = onward.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - http.server's form

        def _is_refused(self) -> bool:
            if proxy.authorization in (None, self.headers.get("Proxy-Authorization")):
                return False
            self.send_error(407)
            self.close_connection = True
            return True

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    return Handler


def _relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
