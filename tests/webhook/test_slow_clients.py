"""Slow clients do not delay others, with the shipped settings of gunicorn."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
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
def dripping(server: Any) -> Iterator[Callable[[list[bytes]], list[socket.socket]]]:
    """Return `dripping(beginnings)`, which opens a connection for each and then sends single bytes slowly."""
    connections: list[socket.socket] = []
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.2):
            for each in connections:
                with contextlib.suppress(OSError):
                    each.send(b"x", socket.MSG_DONTWAIT)

    dripper = threading.Thread(target=drip)

    def start(beginnings: list[bytes]) -> list[socket.socket]:
        for beginning in beginnings:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            connection.sendall(beginning)
            connections.append(connection)
        dripper.start()
        return connections

    yield start
    over.set()
    dripper.join(10)
    for each in connections:
        each.close()


def test_slow_clients_do_not_delay_others(
    redis_url: str, server: Any, dripping: Callable[[list[bytes]], list[socket.socket]], secret: str
) -> None:
    head = HEAD.format(path=callback_path("fox", secret))
    headers = f"{head}X-Slow: ".encode()
    body = f"{head}Content-Length: 100000\r\n\r\n{{".encode()
    dripping([headers, body] * SLOW)

    for path in ("/healthz", "/readyz") * 5:
        answer = exchange(server.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("framing", ["Content-Length: 100000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n99999\r\n{"])
def test_a_callback_that_takes_too_long_is_answered(
    framing: str, redis_url: str, server: Any, dripping: Callable[[list[bytes]], list[socket.socket]], secret: str
) -> None:
    (connection,) = dripping([f"{HEAD.format(path=callback_path('fox', secret))}{framing}".encode()])
    connection.settimeout(25)
    assert connection.recv(100).startswith(b"HTTP/1.1 204")


@pytest.fixture(scope="module")
def impatient(serve: Serve, redis_server: redis_servers.RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with the shipped settings, but shorter times."""
    config = tmp_path_factory.mktemp("config") / "impatient.py"
    config.write_text(
        "from webhook.http import connection\nfrom webhook.server import worker\n"
        "connection.GRACE = worker.HEAD_SECONDS = 1\nfrom webhook.gunicorn_conf import *\n"
    )
    return serve({"BOOMERANG_REDIS_URL": redis_server.url}, "--config", str(config))


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        pytest.param("POST /callbacks/fox/x HTTP/1.1\r\nHost: x\r\nX-Silent: ", b"HTTP/1.1 408", id="in the head"),
        pytest.param("", b"", id="before the head"),
        pytest.param("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT", b"HTTP/1.1 408", id="in the next head"),
        # The body of a callback does not matter.
        pytest.param(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{", b"HTTP/1.1 204", id="in the body"
        ),
        pytest.param("GET / HTTP/1.1\r\nX: " + "x" * 20_000, b"HTTP/1.1 431", id="in a head without end"),
    ],
)
def test_a_silent_client_is_disconnected(beginning: str, expected: bytes, impatient: Any, secret: str) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=30) as connection:
        connection.sendall(beginning.format(path=callback_path("fox", secret)).encode())
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert expected in answer
    assert bool(expected) == bool(answer)
    assert [line for line in impatient.log if "Traceback" in line or "ERROR" in line.upper()] == []


MANY = 1000
CLOSE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "count"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX-Slow: ", MANY, id="half a head"),
        pytest.param(b"", MANY, id="nothing"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT", 300, id="half of the next head"),
        pytest.param(CLOSE, 300, id="and never close"),
        pytest.param(
            b"POST /callbacks/x/y HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{", 300, id="refused bodies"
        ),
        pytest.param(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{", 300, id="unread bodies"),
        pytest.param(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n", 200, id="unread answers"),
    ],
)
def test_many_slow_strangers_delay_neither_callbacks_nor_health_checks(
    *,
    beginning: bytes,
    count: int,
    redis_url: str,
    server: Any,
    dripping: Callable[[list[bytes]], list[socket.socket]],
    secret: str,
    completed: dict[str, Any],
) -> None:
    dripping([beginning] * count)
    body = json.dumps(completed).encode()
    callback = (
        f"{HEAD.format(path=callback_path('fox', secret))}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    for _ in range(10):
        began = time.monotonic()
        assert exchange(server.port, CLOSE).startswith(b"HTTP/1.1 200")
        assert exchange(server.port, callback.encode() + body).startswith(b"HTTP/1.1 204")
        # Without the limits it takes ten seconds and more.
        assert time.monotonic() - began < 2
    assert [line for line in server.log if "Traceback" in line or " ERROR " in line] == []


@pytest.mark.parametrize(("proxies", "most"), [("", 20), ("127.0.0.1", 100)])
def test_an_address_that_is_no_proxy_has_a_limit_of_connections(
    proxies: str, most: int, serve: Serve, redis_server: redis_servers.RedisServer
) -> None:
    limits = {"BOOMERANG_MAX_CONNECTIONS": "20", "BOOMERANG_TRUSTED_PROXIES": proxies}
    server = serve({"BOOMERANG_REDIS_URL": redis_server.url, **limits})
    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(100):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            clients.append(opened.enter_context(client))
        # The youngest of them can still be used
        clients[-1].sendall(CLOSE)
        assert clients[-1].recv(4096).startswith(b"HTTP/1.1 200")
        still_open = 0
        for client in clients:
            client.setblocking(False)
            with contextlib.suppress(ConnectionError):
                try:
                    client.recv(1)
                except BlockingIOError:
                    still_open += 1
    assert most - 2 <= still_open <= most
