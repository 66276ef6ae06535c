"""A server that answers with a test's own bytes, at any speed."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

#: Handles a connection after its request was read. Returns True to close it.
Answer = Callable[[socket.socket], bool | None]


class RawServer:
    """Reads and records each request, then passes the connection to the test's function."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._main = threading.Thread(target=self._accept, daemon=True)
        self._main.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            stack.enter_context(connection)
            file = stack.enter_context(connection.makefile("rb"))
            while first := file.readline():
                method, path, _ = first.decode().split(" ")
                headers = {}
                while (line := file.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = file.read(int(headers.get("content-length", 0)))
                self.requests.append((method, path, headers, body))
                if self.answer(connection):
                    return

    def close(self) -> None:
        # shutdown wakes the threads: the one that waits in accept, and those whose client keeps its connection open
        for each in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._main.join(5)
        for thread in self._threads:
            thread.join(5)


def respond(status: int, body: bytes, *headers: str, length: int | None = None) -> Answer:
    """Send a complete response."""
    lines = "".join(f"{header}\r\n" for header in headers)
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body) if length is None else length}\r\n{lines}\r\n".encode()
    return lambda connection: connection.sendall(head + body)


def close(_connection: socket.socket) -> bool:
    return True


def reset(connection: socket.socket) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return True


def drip(head: bytes, byte: bytes, every: float = 0.05) -> Answer:
    """Send the head at once, then single bytes with pauses until the other side closes the connection."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(byte)
            time.sleep(every)

    return answer
