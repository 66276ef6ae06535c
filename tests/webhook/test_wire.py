"""Malformed and ambiguous requests (request smuggling), sent to the real gunicorn."""

import re
from typing import Any

import pytest

from jobs.new_job import NewJob
from jobs.states import State
from jobs.store.store import Store
from ops.local import redis_server as redis_servers
from schemas import callback_path
from tests.support.raw_http import exchange
from tests.support.webhook_server import Serve

pytestmark = pytest.mark.stack

SECRET = "a-callback-secret-for-tests"
PATH = callback_path("fox", SECRET)
#: A callback that would end the job if it were accepted, followed by a second request.
BODY = b'{"id":"t1","status":"completed","output":[{"content":[{"url":"https://c.example/1"}]}],"usage":{"cost":"1"}}'
SECOND = (
    f"POST {callback_path('hare', SECRET)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
)
CHUNKED = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
LENGTH = f"Content-Length: {len(BODY)}\r\n"


@pytest.fixture(scope="module")
def running(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    return serve({"BOOMERANG_REDIS_URL": redis_server.url})


@pytest.fixture
def server(running: Any, redis_url: str, store: Store) -> Any:
    """A server with an emptied Redis and two jobs in progress."""
    store.jobs.enqueue([NewJob(id=job_id, text="{}", model="m") for job_id in ("fox", "hare")])
    store.attempts.admit(2)
    for claim in store.attempts.claim(["fox", "hare"]):
        store.attempts.mark_in_progress(claim.id, claim.fence, f"task-{claim.id}")
    return running


@pytest.fixture(scope="module")
def limited(serve: Serve, redis_server: redis_servers.RedisServer) -> Any:
    """A server that accepts callbacks from 203.0.113.0/24 only, behind a proxy on this machine."""
    lists = {"BOOMERANG_CALLBACK_ADDRESSES": "203.0.113.0/24", "BOOMERANG_TRUSTED_PROXIES": "127.0.0.1"}
    return serve({"BOOMERANG_REDIS_URL": redis_server.url, **lists})


def post(headers: str, body: bytes = BODY, path: str = PATH, version: str = "HTTP/1.1") -> bytes:
    return f"POST {path} {version}\r\nHost: x\r\n{headers}\r\n".encode("latin-1") + body


def statuses_in(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"^HTTP/1\.[01] (\d{3})", answer, re.MULTILINE)]


REFUSED = [
    pytest.param(post(f"{LENGTH}Transfer-Encoding: chunked\r\n", CHUNKED), 400, id="length and chunked"),
    pytest.param(post(f"Transfer-Encoding: chunked\r\n{LENGTH}", CHUNKED), 400, id="chunked and length"),
    pytest.param(post(f"Transfer-Encoding: identity\r\n{LENGTH}"), 400, id="length and identity"),
    pytest.param(post(LENGTH + LENGTH), 400, id="the same length twice"),
    pytest.param(post(f"{LENGTH}Content-Length: 0\r\n"), 400, id="two lengths"),
    pytest.param(post(f"Content-Length: {len(BODY)}, 0\r\n"), 400, id="two lengths in one"),
    pytest.param(post("Content-Length: -1\r\n"), 400, id="a negative length"),
    pytest.param(post(f"Content-Length: +{len(BODY)}\r\n"), 400, id="a length with a sign"),
    pytest.param(post(f"Content-Length: 0x{len(BODY):x}\r\n"), 400, id="a length in hex"),
    pytest.param(post("Content-Length: \u00b2\r\n"), 400, id="a length of a character that resembles a digit"),
    pytest.param(post("Content-Length:\r\n"), 400, id="an empty length"),
    pytest.param(post(f"Content-Length : {len(BODY)}\r\n"), 400, id="a space before the colon"),
    pytest.param(post("Transfer-Encoding: chunked, identity\r\n", CHUNKED), 400, id="chunked is not the last"),
    pytest.param(
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKED), 400, id="chunked twice"
    ),
    pytest.param(post("Transfer-Encoding: xchunked\r\n", CHUNKED), 501, id="an unknown encoding"),
    pytest.param(post("Transfer-Encoding: chunked\r\n", CHUNKED, version="HTTP/1.0"), 400, id="chunked in HTTP/1.0"),
    pytest.param(post(f"{LENGTH}X-Fold: a\r\n b\r\n"), 400, id="a folded header"),
    pytest.param(post(f"{LENGTH}X-Nul: a\0b\r\n"), 400, id="a NUL in a header"),
    pytest.param(post(f"{LENGTH}X-Long: {'x' * 9000}\r\n"), 431, id="a long header"),
    pytest.param(post(LENGTH + "".join(f"X-{n}: y\r\n" for n in range(500))), 431, id="500 headers"),
    pytest.param(post(LENGTH, path=PATH + "x" * 9000), 414, id="a long path"),
    pytest.param(post(LENGTH, version="HTTP/9.9"), 400, id="a version that is none"),
    pytest.param(post(LENGTH, version="HTTP/0.9"), 400, id="HTTP/0.9"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, 400, id="TLS"),
    pytest.param(b"\r\n\r\n\r\n\r\n" + b"\0" * 100, 400, id="noise"),
]


@pytest.mark.parametrize(("request_", "status"), REFUSED)
def test_a_malformed_request_is_refused_and_changes_nothing(
    request_: bytes, status: int, server: Any, store: Store
) -> None:
    before = store.jobs.get("fox")

    # A smuggled second request follows a request that can be read in two ways
    answer = exchange(server.port, request_ + SECOND)

    # Then nothing behind it is read
    assert statuses_in(answer) == [status]
    assert store.jobs.get("fox") == before
    assert store.jobs.get("hare").state is State.IN_PROGRESS


CHUNKS = "Transfer-Encoding: chunked\r\n"
#: (headers, body, whether the connection may go on: the end of the body is known, and it has no second coding)
UNREADABLE = [
    pytest.param("Content-Length: 99999999999999999999\r\n", BODY, False, id="a huge length"),
    pytest.param(CHUNKS, b"400000\r\n" + b"x" * 0x10, False, id="chunked and cut off"),
    pytest.param(CHUNKS, b"zz\r\n", False, id="a chunk size that is none"),
    pytest.param(CHUNKS, b"4;=\r\nnull\r\n0\r\n\r\n", False, id="a chunk extension that is none"),
    pytest.param(CHUNKS, b"5\r\nnull\r\n0\r\n\r\n", False, id="a chunk of another size"),
    pytest.param(CHUNKS, b"4\r\nnull\r\n0\r\nX: a\nY: b\r\n\r\n", False, id="a trailer that is none"),
    pytest.param(CHUNKS, b"100000\r\n" + b"x" * 0x100000 + b"\r\n0\r\n\r\n", True, id="chunked and too large"),
    pytest.param("Content-Length: 1048576\r\n", b"x" * 0x100000, True, id="too large"),
    pytest.param("Transfer-Encoding: gzip, chunked\r\n", b"2\r\n\x1f\x8b\r\n0\r\n\r\n", False, id="gzip and chunked"),
    pytest.param("", b"", True, id="no length"),
]


@pytest.mark.parametrize(("headers", "body", "known"), UNREADABLE)
def test_an_unreadable_body_is_a_hint(headers: str, body: bytes, *, known: bool, server: Any, store: Store) -> None:
    answer = exchange(server.port, post(headers, body) + SECOND)

    assert statuses_in(answer) == ([204, 204] if known else [204])
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]
    assert store.jobs.get("hare").state is (State.COMPLETED if known else State.IN_PROGRESS)
    assert [line for line in server.log if "Traceback" in line] == []


@pytest.mark.parametrize(("headers", "body", "known"), UNREADABLE)
def test_an_unreadable_body_with_an_invalid_token_is_refused(
    headers: str, body: bytes, *, known: bool, server: Any, store: Store
) -> None:
    before = store.jobs.get("fox")

    answer = exchange(server.port, post(headers, body, path=PATH[:-1]))

    assert statuses_in(answer) == [413 if "Length" in headers else 411]
    assert store.jobs.get("fox") == before
    assert store.attempts.claim_due(10).dues == ()


@pytest.mark.parametrize("coding", ["chunked", "CHUNKED"])
def test_a_chunked_report_settles_and_its_end_is_known(coding: str, server: Any, store: Store) -> None:
    answer = exchange(server.port, post(f"Transfer-Encoding: {coding}\r\n", CHUNKED) + SECOND)
    assert statuses_in(answer) == [204, 204]
    assert [store.jobs.get(job_id).state for job_id in ("fox", "hare")] == [State.COMPLETED] * 2


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_address_can_be_verified(method: str, server: Any, store: Store) -> None:
    before = store.jobs.get("fox")
    answer = exchange(server.port, f"{method} {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert statuses_in(answer) == [204]
    assert store.jobs.get("fox") == before


def test_two_requests_on_one_connection_are_both_answered(server: Any, store: Store) -> None:
    answer = exchange(server.port, post(LENGTH) + SECOND)
    assert answer.count(b"HTTP/1.1 204") == 2
    assert [store.jobs.get(job_id).state for job_id in ("fox", "hare")] == [State.COMPLETED] * 2


def test_a_sender_that_expects_100_continue_gets_it(server: Any, store: Store) -> None:
    answer = exchange(server.port, post(f"{LENGTH}Expect: 100-continue\r\nConnection: close\r\n"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204")
    assert store.jobs.get("fox").state is State.COMPLETED


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param("X-Forwarded-For: 203.0.113.7\r\n", 204, id="the provider through our proxy"),
        pytest.param("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", 204, id="two headers"),
        pytest.param("X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 198.51.100.1\r\n", 403, id="the last counts"),
        pytest.param("X_Forwarded_For: 203.0.113.7\r\n", 403, id="a similar name"),
        pytest.param("Forwarded: for=203.0.113.7\r\n", 403, id="another header"),
        pytest.param("X-Real-IP: 203.0.113.7\r\n", 403, id="yet another"),
        pytest.param("", 403, id="no header"),
    ],
)
def test_forwarded_addresses_are_checked_behind_a_proxy(
    headers: str, status: int, limited: Any, redis_url: str, store: Store
) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(1)
    store.attempts.claim(["fox"])
    answer = exchange(limited.port, post(f"{headers}{LENGTH}Connection: close\r\n"))
    assert answer.startswith(f"HTTP/1.1 {status}".encode())
    assert store.jobs.get("fox").state is (State.COMPLETED if status == 204 else State.SUBMITTING)
