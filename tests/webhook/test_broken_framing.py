"""Bodies whose chunks are broken, at every kind of address: an answer of the 4xx kind, and no traceback."""

import gzip
from typing import Any

import pytest

from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from tests.support.raw_http import exchange
from tests.support.webhook_server import Serve
from tests.webhook.test_wire import statuses_in

pytestmark = pytest.mark.stack

#: Bodies with `Transfer-Encoding: chunked`.
BROKEN = {
    "a size that is none": b"zz\r\nnull\r\n0\r\n\r\n",
    "an empty size": b"\r\nnull\r\n0\r\n\r\n",
    "a negative size": b"-4\r\nnull\r\n0\r\n\r\n",
    "a size with a sign": b"+4\r\nnull\r\n0\r\n\r\n",
    "a size in other digits": "٤\r\nnull\r\n0\r\n\r\n".encode(),
    "a huge size": b"f" * 40 + b"\r\nnull",
    "a size with 0x": b"0x4\r\nnull\r\n0\r\n\r\n",
    "a size with spaces": b" 4 \r\nnull\r\n0\r\n\r\n",
    "an endless size": b"4" * 70_000,
    "an endless extension": b"4;" + b"x" * 70_000,
    "an extension that is none": b"4;=\r\nnull\r\n0\r\n\r\n",
    "a chunk of another size": b"5\r\nnull\r\n0\r\n\r\n",
    "no line end after a chunk": b"4\r\nnull0\r\n\r\n",
    "line feeds alone": b"4\nnull\n0\n\n",
    "cut off in a size": b"4",
    "cut off in a chunk": b"400\r\nnull",
    "cut off before the end": b"4\r\nnull\r\n",
    "cut off in the end": b"4\r\nnull\r\n0\r\n",
    "a trailer that is none": b"4\r\nnull\r\n0\r\nX y\r\n\r\n",
    "endless trailers": b"4\r\nnull\r\n0\r\n" + b"X: y\r\n" * 20_000,
    "noise": bytes(range(256)) * 4,
    "nothing": b"",
}
REQUESTS = [
    "POST /v1/jobs",
    "POST /v1/batches",
    "POST /v1/batches?on_error=abort",
    "POST /v1/images",
    "POST /v1/jobs/fox/cancel",
    "POST /model/v1/generation",
    "POST /login",
    "POST /logout",
    "POST /callbacks/fox/wrong",
    "PUT /v1/jobs",
    "POST /nothing",
    "POST /healthz",
    "GET /healthz",
    "GET /v1/jobs",
    "GET /readyz",
    "GET /login",
]
TYPES = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]


@pytest.fixture(scope="module")
def running(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    return serve({"BOOMERANG_REDIS_URL": redis_server.url, "BOOMERANG_RATE_LIMIT": "off"})


@pytest.fixture
def server(running: Any, redis_url: str, store: Store) -> Any:
    """A server with an emptied Redis that has the scripts."""
    return running


def head(request_: str, kind: str, *more: str) -> bytes:
    lines = [f"{request_} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", f"Content-Type: {kind}", *more, "", ""]
    return "\r\n".join(lines).encode()


def check(server: Any, sent: list[bytes], statuses: range) -> None:
    before = len(server.log)
    for each in sent:
        answer = exchange(server.port, each)
        found = statuses_in(answer)
        assert found, each[:300]
        assert found[0] in statuses, (each[:300], answer[:300])
    bad = [line for line in server.log[before:] if "Traceback" in line or "Error" in line or "unexpected" in line]
    assert bad == []


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("request_", REQUESTS)
def test_broken_chunks_are_refused(request_: str, kind: str, server: Any) -> None:
    key = [f"{name}: {value}" for name, value in server.authorization.items()]
    heads = [head(request_, kind, *key), head(request_, kind)]
    # A request whose body nobody needs is answered as if it had none.
    statuses = range(200, 500) if request_.startswith(("GET", "POST /v1/jobs/", "POST /logout")) else range(400, 500)
    check(server, [each + body for each in heads for body in BROKEN.values()], statuses)


@pytest.mark.parametrize("request_", ["POST /v1/batches", "POST /v1/jobs", "POST /v1/images"])
def test_broken_gzip_is_refused(request_: str, server: Any) -> None:
    key = [f"{name}: {value}" for name, value in server.authorization.items()]
    packed = gzip.compress(b'{"model":"kirin_image_omni","prompt":"a fox"}\n' * 100)
    damaged = [packed[:-9], packed[:40] + b"\xff" * 20 + packed[60:], b"\x1f\x8b", b"x" * 50, packed[:-8] + bytes(8)]
    sent = []
    for body in damaged:
        framing = ["Content-Encoding: gzip", f"Content-Length: {len(body)}"]
        lines = [f"{request_} HTTP/1.1", "Host: x", *framing, *key, "", ""]
        sent.append("\r\n".join(lines).encode() + body)
    check(server, sent, range(400, 500))
