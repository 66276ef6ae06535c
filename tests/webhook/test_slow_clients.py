"""Slow clients do not delay others, with the shipped settings of gunicorn."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.local import redis_server as redis_servers
from schemas import callback_path
from tests.support.raw_http import exchange
from tests.support.webhook_server import Serve

pytestmark = pytest.mark.stack

#: The number of slow clients of each kind.
SLOW = 60
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    return serve({"BOOMERANG_REDIS_URL": redis_server.url})


@pytest.fixture
def dripping(server: Any) -> Iterator[Callable[[list[bytes]], None]]:
    """Return `dripping(beginnings)`, which opens a connection for each and then sends single bytes slowly."""
    connections: list[socket.socket] = []
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.2):
            for each in connections:
                with contextlib.suppress(OSError):
                    each.sendall(b"x")

    dripper = threading.Thread(target=drip)

    def start(beginnings: list[bytes]) -> None:
        for beginning in beginnings:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            connection.sendall(beginning)
            connections.append(connection)
        dripper.start()

    yield start
    over.set()
    dripper.join(10)
    for each in connections:
        each.close()


def test_slow_clients_do_not_delay_others(
    redis_url: str, server: Any, dripping: Callable[[list[bytes]], None], secret: str
) -> None:
    head = HEAD.format(path=callback_path("fox", secret))
    headers = f"{head}X-Slow: ".encode()
    body = f"{head}Content-Length: 100000\r\n\r\n{{".encode()
    dripping([headers, body] * SLOW)

    for path in ("/healthz", "/readyz") * 5:
        answer = exchange(server.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param("POST /callbacks/fox/x HTTP/1.1\r\nHost: x\r\nX-Silent: ", id="in the headers"),
        pytest.param("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{", id="in the body"),
    ],
)
def test_a_silent_client_is_disconnected(
    beginning: str, serve: Serve, redis_server: redis_servers.RedisServer, secret: str, tmp_path: Path
) -> None:
    # Given the shipped settings with a shorter time-out
    config = tmp_path / "impatient.py"
    config.write_text(
        "from webhook import gunicorn_conf\ngunicorn_conf.SILENCE = 1\nfrom webhook.gunicorn_conf import *\n"
    )
    server = serve({"BOOMERANG_REDIS_URL": redis_server.url}, "--config", str(config))
    # A connection inherits its listener's time-out: the first one may be accepted before the limit is set
    assert exchange(server.port, HEALTH).startswith(b"HTTP/1.1 200")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(beginning.format(path=callback_path("fox", secret)).encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert [line for line in server.log if "Traceback" in line or "ERROR" in line.upper()] == []
