"""Slow clients do not delay others, with the shipped settings of gunicorn."""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.local import redis_server as redis_servers
from schemas import callback_path
from tests.support.raw_http import exchange
from tests.support.waiting import load
from tests.support.webhook_server import Serve
from webhook.places import STRANGERS

pytestmark = pytest.mark.stack

#: The number of slow clients of each kind.
SLOW = 60
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\n"


#: Counts the threads that wait for a client, and writes the most at once to a file.
COUNTING = """
import threading
from pathlib import Path
from webhook.http.connection import Connection
from webhook.gunicorn_conf import *

lock, now, most, file, local = threading.Lock(), 0, 0, Path({file!r}), threading.local()
wait, have_place = Connection._wait, Connection._have_place

def begun(connection):
    # A request that may not wait, or gets no place, ends here.
    global now, most
    have_place(connection)
    if getattr(local, "waits", False):
        return
    local.waits = True
    with lock:
        now += 1
        if now > most or not file.exists():
            most = now
            file.write_text(str(most))

def counted(*args):
    global now
    try:
        wait(*args)
    finally:
        with lock:
            now -= getattr(local, "waits", False)
        local.waits = False

Connection._have_place = begun
Connection._wait = counted
"""


@pytest.fixture(scope="module")
def waits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file with the most threads of `server` that waited for clients at once."""
    return tmp_path_factory.mktemp("waits") / "most"


@pytest.fixture(scope="module")
def server(serve: Serve, redis_server: redis_servers.RedisServer, waits: Path) -> Any:
    config = waits.with_name("counting.py")
    config.write_text(COUNTING.format(file=str(waits)))
    return serve({"BOOMERANG_REDIS_URL": redis_server.url}, "--config", str(config))


@pytest.fixture(autouse=True)
def _no_waits_so_far(waits: Path) -> None:
    waits.unlink(missing_ok=True)


def most_waits(waits: Path) -> int:
    return int(waits.read_text() or 0) if waits.exists() else 0


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


@pytest.fixture(scope="module")
def impatient(serve: Serve, redis_server: redis_servers.RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with the shipped settings, but shorter times."""
    config = tmp_path_factory.mktemp("config") / "impatient.py"
    config.write_text(
        "from webhook.http import connection\nfrom webhook.server import worker\n"
        "connection.GRACE = worker.HEAD_SECONDS = 1\nfrom webhook.gunicorn_conf import *\n"
    )
    return serve({"BOOMERANG_REDIS_URL": redis_server.url}, "--config", str(config))


@pytest.mark.parametrize("framing", ["Content-Length: 100000\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n99999\r\n{"])
def test_a_callback_that_takes_too_long_is_answered(framing: str, redis_url: str, impatient: Any, secret: str) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=30) as connection:
        connection.sendall(f"{HEAD.format(path=callback_path('fox', secret))}{framing}".encode())
        while not select.select([connection], [], [], 0.2)[0]:
            connection.sendall(b"x")
        assert connection.recv(100).startswith(b"HTTP/1.1 204")


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
def test_a_silent_client_is_disconnected(
    beginning: str, expected: bytes, redis_url: str, impatient: Any, secret: str
) -> None:
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
    waits: Path,
) -> None:
    dripping([beginning] * count)
    body = json.dumps(completed).encode()
    callback = (
        f"{HEAD.format(path=callback_path('fox', secret))}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    for _ in range(10):
        assert exchange(server.port, CLOSE, timeout=30).startswith(b"HTTP/1.1 200")
        assert exchange(server.port, callback.encode() + body, timeout=30).startswith(b"HTTP/1.1 204")
    assert most_waits(waits) <= 2 * STRANGERS  # one may begin before another has noted its end
    assert [line for line in server.log if "Traceback" in line or " ERROR " in line] == []


#: A request that must be answered at once, whatever others do, and the beginning of its answer.
CALLS = [
    (CLOSE, b"HTTP/1.1 200"),
    (CLOSE.replace(b"healthz", b"login"), b"HTTP/1.1 200"),
    (CLOSE.replace(b"healthz", b"metrics"), b"HTTP/1.1 401"),
    (CLOSE.replace(b"healthz", b"v1/lanes"), b"HTTP/1.1 401"),
    (b"POST /callbacks/x/y HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 403"),
]
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.mark.parametrize(
    "beginning",
    [
        "GET /healthz HTTP/1.1\r\nContent-Length: 10\r\n",
        "GET /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        "GET /readyz HTTP/1.1\r\nContent-Length: 10\r\n",
        "GET /metrics HTTP/1.1\r\nContent-Length: 100000\r\n",
        "POST /healthz HTTP/1.1\r\nContent-Length: 10\r\n",
        "GET /v1/lanes HTTP/1.1\r\nContent-Length: 10\r\n",
        "POST /v1/jobs HTTP/1.1\r\nAuthorization: Bearer wrong\r\nContent-Length: 10\r\n",
        "GET /nothing HTTP/1.1\r\nContent-Length: 10\r\n",
        "POST /callbacks/x/y HTTP/1.1\r\nContent-Length: 10\r\n",
        f"POST /login HTTP/1.1\r\n{FORM}Content-Length: 100\r\n",
        f"POST /login HTTP/1.1\r\n{FORM}Content-Length: 8000000\r\n",
        f"POST /login HTTP/1.1\r\n{FORM}Transfer-Encoding: chunked\r\n",
        f"POST /%6Cogin HTTP/1.1\r\n{FORM}Content-Length: 100\r\n",
        f"POST http://x/logout HTTP/1.1\r\n{FORM}Content-Length: 100\r\n",
        f"GET / HTTP/1.1\r\n{FORM}Content-Length: 100\r\n",
        "GET /docs HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 100\r\n",
    ],
)
def test_bodies_that_strangers_do_not_send_hold_no_thread(
    beginning: str, redis_url: str, server: Any, waits: Path
) -> None:
    request = f"{beginning}Host: x\r\n\r\n".encode()
    with contextlib.ExitStack() as opened:
        for number in range(400):
            source = (f"127.0.0.{2 + number % 2}", 0)
            client = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), 10, source))
            client.sendall(request)
        for call, expected in CALLS:
            assert exchange(server.port, call, timeout=30).startswith(expected)
    assert most_waits(waits) <= 2 * STRANGERS  # one may begin before another has noted its end


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/callbacks/x/y", "/v1/lanes", "/login", "/nothing"]
)
def test_answers_that_strangers_do_not_read_hold_no_thread(path: str, redis_url: str, server: Any) -> None:
    def fill(count: int) -> None:
        for _ in range(count):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.bind(("127.0.0.2", 0))
            client.connect(("127.0.0.1", server.port))
            client.setblocking(False)
            clients.append(client)

    requests = f"GET {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n".encode() * 200
    clients = list[socket.socket]()
    with contextlib.ExitStack() as opened:
        fill(120)
        for _ in range(30):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(requests)
        for call, expected in CALLS:
            assert exchange(server.port, call).startswith(expected)


#: Floods of these use the whole machine for seconds, like those of the others.
AT_LENGTH = [pytest.param(path, marks=pytest.mark.chaos) for path in ("/healthz", "/login", "/callbacks/x/y")]


@pytest.mark.parametrize("path", ["/readyz", "/v1/lanes", *AT_LENGTH])
def test_an_address_that_floods_waits_for_its_own_requests(path: str, redis_url: str, server: Any) -> None:
    over = threading.Event()
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def flood(clients: list[socket.socket]) -> None:
        while not over.is_set():
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(request, socket.MSG_DONTWAIT)
            for client in select.select(clients, [], [], 1)[0]:
                with contextlib.suppress(OSError):
                    client.recv(1 << 20, socket.MSG_DONTWAIT)

    with contextlib.ExitStack() as opened:
        clients = []
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", server.port), 10, ("127.0.0.2", 0))
            clients.append(opened.enter_context(client))
        flooder = threading.Thread(target=flood, args=(clients,))
        flooder.start()
        opened.callback(flooder.join, 10)
        opened.callback(over.set)
        for call, expected in (*CALLS, (CLOSE.replace(b"healthz", b"readyz"), b"HTTP/1.1 200")):
            began = time.monotonic()
            assert exchange(server.port, call, timeout=60).startswith(expected)
            assert time.monotonic() - began < 3 * load()


def test_a_form_in_pieces_is_read(redis_url: str, server: Any) -> None:
    head = f"POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{FORM}Content-Length: 9\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        for piece in (head[:20], head[20:], b"key", b"=wro"):
            client.sendall(piece)
            assert select.select([client], [], [], 0.2)[0] == []
        client.sendall(b"ng")
        assert b"This form is too old" in client.makefile("rb").read()


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


def test_a_callback_gets_through_where_its_address_has_too_many_connections(
    serve: Serve, redis_server: redis_servers.RedisServer, redis_url: str, secret: str
) -> None:
    server = serve({"BOOMERANG_REDIS_URL": redis_server.url, "BOOMERANG_MAX_CONNECTIONS": "10"})
    call = (
        f"{HEAD.format(path=callback_path('fox', secret))}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
    )
    # Each has a thread until its body has arrived, so that none of them can be closed instead
    authorization = "".join(f"{name}: {value}\r\n" for name, value in server.authorization.items())
    held = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: 100\r\n\r\n{{".encode()
    with contextlib.ExitStack() as opened:
        for _ in range(10):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            client.sendall(held)
        for request, expected in [
            (CLOSE.replace(b"healthz", b"v1/lanes"), b"HTTP/1.1 503"),
            (call, b"HTTP/1.1 204"),
            (CLOSE, b"HTTP/1.1 200"),
            (CLOSE.replace(b"healthz", b"readyz"), b"HTTP/1.1 200"),
        ]:
            assert exchange(server.port, request).startswith(expected)
