"""The provider's client over real sockets: whatever the server does, a call returns an outcome in time."""

import gzip
import json
import logging
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from schemas import GenerationRequest, callback_path, token_is_valid
from tests.support.listener import Listener
from tests.support.raw_server import Answer, RawServer, close, drip, reset, respond
from tests.support.waiting import within
from tests.support.world import RequestOf
from worker.provider import (
    Absent,
    Created,
    Doubtful,
    Exists,
    Found,
    Held,
    NotSent,
    Provider,
    Refused,
    Unavailable,
)
from worker.provider.client import LARGEST_ANSWER
from worker.settings import Envelope, Settings

KEY = "canary-provider-key-7f3a"
SECRET = "a-callback-secret-for-tests"
CREATED = b'{"id": "t1", "status": "in_progress"}'


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer(respond(200, CREATED))
    yield server
    server.close()


@pytest.fixture
def provider_of() -> Iterator[Callable[..., Provider]]:
    """Return `provider_of(url, envelope=…)`, which makes a client with short time-outs."""
    made: list[Provider] = []

    def make(url: str, **more: Any) -> Provider:
        given = {"connect_timeout": 0.5, "read_timeout": 0.4, **more}
        made.append(Provider(Settings(provider_url=url, provider_key=KEY, **given)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MB of blanks, compressed."""
    return gzip.compress(b" " * 200 * 1024 * 1024, 1)


@pytest.fixture
def provider(server: RawServer, provider_of: Callable[..., Provider]) -> Provider:
    return provider_of(server.url)


# --- never sent -----------------------------------------------------------------------------------------------------


def test_connection_refused_is_never_sent(provider_of: Callable[..., Provider], a_request: RequestOf) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: no other process can take the port
        provider = provider_of(f"http://127.0.0.1:{taken.getsockname()[1]}")
        outcome = provider.submit(a_request(), "job-1")
        assert isinstance(outcome, NotSent)
        assert isinstance(provider.find_by_external_id("job-1"), Unavailable)


def test_a_name_that_does_not_resolve_is_never_sent(provider_of: Callable[..., Provider], a_request: RequestOf) -> None:
    assert isinstance(provider_of("http://provider.invalid").submit(a_request(), "job-1"), NotSent)


def test_tls_to_a_plain_port_is_not_a_refusal(
    server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    outcome = provider_of(server.url.replace("http:", "https:")).submit(a_request(), "job-1")
    # The handshake failed, so nothing was sent. In doubt is also safe: a look-up settles it.
    assert isinstance(outcome, (NotSent, Doubtful))


def test_an_untrusted_certificate_is_never_sent(
    tls_server: tuple[str, list[bytes]],
    provider_of: Callable[..., Provider],
    a_request: RequestOf,
) -> None:
    url, got = tls_server
    assert isinstance(provider_of(url).submit(a_request(), "job-1"), NotSent)
    assert got == []


# --- in doubt -------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LOST: dict[str, Answer] = {
    "no answer, then closed": close,
    "no answer, then reset": reset,
    "half a status line": lambda c: (c.sendall(b"HTTP/1.1 2"), True)[1],
    "not HTTP": lambda c: (c.sendall(b"SSH-2.0-OpenSSH_9\r\n"), True)[1],
    "closed within the headers": lambda c: (c.sendall(b"HTTP/1.1 200 OK\r\nContent-Le"), True)[1],
    "closed within the body": lambda c: (c.sendall(HEAD + CREATED[:9]), True)[1],
    "reset within the body": lambda c: (c.sendall(HEAD + CREATED[:9]), reset(c))[1],
    "closed within a chunk": lambda c: (c.sendall(CHUNKED + b"ff\r\n" + CREATED[:9]), True)[1],
    "a chunk size that is none": lambda c: (c.sendall(CHUNKED + b"zz\r\n" + CREATED), True)[1],
    "truncated JSON": respond(200, CREATED[:9]),
    "HTML": respond(200, b"<!doctype html>"),
    "gzip that is none": respond(200, b"nonsense", "Content-Encoding: gzip"),
    "gzip cut short": respond(200, gzip.compress(CREATED)[:12], "Content-Encoding: gzip"),
    "br": respond(200, b"\x8b\x08\x80{}\x03", "Content-Encoding: br"),
    "200 headers": respond(200, CREATED, *(f"X-{n}: y" for n in range(200))),
    "a header line without end": respond(200, CREATED, f"X-Long: {'y' * 100_000}"),
    "500": respond(500, b""),
    "503": respond(503, b"", "Retry-After: 5"),
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST)
def test_an_answer_that_cannot_be_read_leaves_doubt(
    answer: Answer, server: RawServer, provider: Provider, a_request: RequestOf
) -> None:
    server.answer = answer
    assert isinstance(provider.submit(a_request(), "job-1"), Doubtful)
    assert isinstance(provider.find_by_external_id("job-1"), Unavailable)
    # The HTTP library does not retry: each call was one request.
    assert [method for method, *_ in server.requests] == ["POST", "GET"]


def test_a_missing_answer_leaves_doubt(server: RawServer, provider: Provider, a_request: RequestOf) -> None:
    released = threading.Event()
    server.answer = lambda _: (released.wait(60), None)[1]
    with within(4.5):
        outcome = provider.submit(a_request(), "job-1")
    released.set()
    assert isinstance(outcome, Doubtful)


ODD_HEADERS = {
    "two lengths": "Content-Length: 2\r\nContent-Length: 3\r\n",
    "lengths in a list": "Content-Length: 2, 3\r\n",
    "a long one": f"X: {'y' * 70_000}\r\n",
    "many": "X: y\r\n" * 120,
}

#: Every request to the provider.
CALLS = ("submit", "get_status", "find_by_external_id", "probe")


def outcome_of(provider: Provider, call: str, request: GenerationRequest) -> object:
    """Make the call and return its outcome."""
    match call:
        case "submit":
            return provider.submit(request, "job-1")
        case "get_status":
            return provider.get_status("t1", "job-1")
        case "find_by_external_id":
            return provider.find_by_external_id("job-1")
        case _:
            return provider.probe()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("headers", ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_odd_headers_are_an_answer(
    headers: str, call: str, server: RawServer, provider: Provider, a_request: RequestOf
) -> None:
    server.answer = lambda connection: (connection.sendall(f"HTTP/1.1 200 OK\r\n{headers}\r\n{{}}".encode()), True)[1]
    outcome = outcome_of(provider, call, a_request())
    assert isinstance(outcome, Doubtful | Unavailable)
    assert (outcome.silent, outcome.seen) == (False, "")


DRIPS: dict[str, Answer] = {
    "status line": drip(b"HTTP/1.1 200 ", b"O"),
    "header line": drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "body": drip(HEAD, b" "),
    "chunk size": drip(CHUNKED, b"0"),
    "chunks": drip(CHUNKED, b"1\r\n \r\n"),
    "body without length": drip(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
    "100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", DRIPS.values(), ids=DRIPS)
def test_a_slow_answer_ends_at_the_deadline(
    answer: Answer, call: str, server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    server.answer = answer
    provider = provider_of(server.url, connect_timeout=0.2, read_timeout=0.15)
    with within(10):  # without a deadline it would not end
        assert isinstance(outcome_of(provider, call, a_request()), Doubtful | Unavailable)


def test_a_server_that_does_not_read_is_left_at_the_deadline(
    provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    request = GenerationRequest(model="kirin_image_omni", params={"prompt": "a fox", "pad": "x" * 30_000_000})
    with socket.create_server(("127.0.0.1", 0), backlog=1) as not_reading:
        provider = provider_of(f"http://127.0.0.1:{not_reading.getsockname()[1]}")
        with within(10):
            assert isinstance(provider.submit(request, "job-1"), Doubtful)


# --- too large ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_a_huge_answer_is_cut_at_the_limit(
    call: str, server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    sent = [0]

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
        for _ in range(200):
            connection.sendall(b" " * 1024 * 1024)
            sent[0] += 1024 * 1024

    server.answer = answer
    provider = provider_of(server.url, read_timeout=10)
    assert isinstance(outcome_of(provider, call, a_request()), Doubtful | Unavailable)
    assert sent[0] < LARGEST_ANSWER + 16 * 1024 * 1024  # plus what the sockets' buffers may hold


@pytest.mark.parametrize(("status", "call"), [*[(200, call) for call in CALLS], (302, "submit"), (302, "probe")])
@pytest.mark.slow
def test_a_gzip_bomb_is_expanded_within_bounds(  # noqa: PLR0917 - a fixture each
    status: int,
    call: str,
    bomb: bytes,
    server: RawServer,
    provider_of: Callable[..., Provider],
    a_request: RequestOf,
) -> None:
    server.answer = respond(status, bomb, "Content-Encoding: gzip", "Location: /x")
    provider = provider_of(server.url, read_timeout=10)
    tracemalloc.start()
    outcome = outcome_of(provider, call, a_request())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(outcome, Doubtful | Unavailable)
    assert peak < 4 * LARGEST_ANSWER  # of 200 MB
    assert server.requests[0][2]["accept-encoding"] == "identity"


# --- secrets and redirects ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    status: int, server: RawServer, provider: Provider, listener: Listener, a_request: RequestOf
) -> None:
    server.answer = respond(status, b"", f"Location: {listener.url}/elsewhere")
    assert isinstance(provider.submit(a_request(), "job-1"), Doubtful)
    assert isinstance(provider.get_status("t1", "job-1"), Unavailable)
    assert listener.connections == 0
    assert len(server.requests) == 2


LOCATIONS = ["X: y", "Location: /x", "Location: http://[::1/x", "Location: caf\xe9", "Location: x\x00y", "Location: //"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("location", LOCATIONS)
def test_a_redirect_with_any_location_and_body_is_an_outcome(
    location: str, call: str, server: RawServer, provider: Provider, a_request: RequestOf
) -> None:
    head = f"HTTP/1.1 302 X\r\n{location}\r\nContent-Encoding: gzip\r\nContent-Length: {len(CREATED)}\r\n\r\n"
    server.answer = lambda connection: connection.sendall(head.encode("latin-1") + CREATED)
    outcome = outcome_of(provider, call, a_request())
    assert isinstance(outcome, Doubtful | Unavailable)
    assert not outcome.silent


def test_no_cookie_is_kept(server: RawServer, provider: Provider, a_request: RequestOf) -> None:
    server.answer = respond(200, CREATED, "Set-Cookie: session=1; Path=/")
    provider.submit(a_request(), "job-1")
    provider.submit(a_request(), "job-2")
    assert [headers.get("cookie") for _, _, headers, _ in server.requests] == [None, None]


def test_the_environments_proxy_is_ignored(
    server: RawServer,
    provider: Provider,
    a_request: RequestOf,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, listener.url)
    assert provider.submit(a_request(), "job-1") == Created("t1")
    assert listener.connections == 0
    assert server.requests[0][2]["authorization"] == f"Bearer {KEY}"


def test_the_key_is_in_no_log_no_repr_and_no_outcome(
    server: RawServer,
    provider_of: Callable[..., Provider],
    a_request: RequestOf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = provider_of(server.url, public_url="https://boomerang.example", callback_secrets=(SECRET,))
    outcomes: list[object] = []
    for answer in (respond(200, CREATED), respond(401, b""), close, reset, respond(307, b"", "Location: /x")):
        server.answer = answer
        outcomes += [provider.submit(a_request(), "job-1"), provider.find_by_external_id("job-1")]
    token = json.loads(server.requests[0][3])["input"][0]["params"]["callback_url"].rpartition("/")[2]
    text = caplog.text + repr(outcomes) + repr(provider) + repr(provider._settings) + str(vars(provider))
    assert "POST" in caplog.text  # urllib3 did log, so the search below means something
    for secret in (KEY, SECRET, token):
        assert secret not in text


def test_secrets_that_the_provider_repeats_are_hidden(
    server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    retired = "a-callback-secret-of-last-year"
    provider = provider_of(server.url, public_url="https://boomerang.example", callback_secrets=(SECRET, retired))
    tokens = [callback_path("job-1", secret).rpartition("/")[2] for secret in (SECRET, retired)]
    outcomes: list[object] = []
    for status in (200, 400, 401, 409, 429, 500):
        text = f"invalid key {KEY}, and https://boomerang.example/callbacks/job-1/{tokens[0]} or {tokens[1]}"
        error = json.dumps({"status": "failed", "error": {"code": text, "message": text}})
        server.answer = respond(status, error.encode())
        outcomes += [
            provider.submit(a_request(), "job-1"),
            provider.get_status("t1", "job-1"),
            provider.find_by_external_id("job-1"),
        ]
    assert "invalid key ***, and https://boomerang.example/callbacks/job-1/*** or ***" in str(outcomes)
    assert [secret for secret in (KEY, *tokens) if secret in str(outcomes)] == []


# --- what is sent ---------------------------------------------------------------------------------------------------


def _sent(server: RawServer) -> Any:
    return json.loads(server.requests[-1][3])


def test_a_request_is_sent_in_the_wrapped_envelope(server: RawServer, provider: Provider, a_request: RequestOf) -> None:
    provider.submit(a_request(labels={"shop": "berlin"}, callback_url="https://producer.example/x"), "job-1")
    method, path, headers, _ = server.requests[0]
    assert (method, path) == ("POST", "/model/v1/generation")
    assert headers["content-type"] == "application/json"
    # The producer's callback_url and labels are not sent to the provider.
    assert _sent(server) == {
        "model": "kirin_image_omni",
        "input": [{"params": {"prompt": "a fox", "external_task_id": "job-1"}}],
    }


def test_a_request_is_sent_in_the_flat_envelope(
    server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    provider_of(server.url, envelope=Envelope.FLAT).submit(a_request(), "job-1~2")
    assert _sent(server) == {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "job-1~2"}


def test_the_image_key_renames_the_member_in_a_copy(server: RawServer, provider_of: Callable[..., Provider]) -> None:
    request = GenerationRequest(
        model="kirin_image_omni", params={"prompt": "<<<image_1>>>", "image_list": [{"image": "https://x.example/1"}]}
    )
    provider_of(server.url, image_key="url").submit(request, "job-1")
    assert _sent(server)["input"][0]["params"]["image_list"] == [{"url": "https://x.example/1"}]
    # The request itself does not change, because the next attempt uses it.
    assert request.params["image_list"] == [{"image": "https://x.example/1"}]


@pytest.mark.parametrize("sent", [["u"], "u", None, 7, {"image": "u"}, [{"image": "u"}, {"url": 1}]])
def test_a_parameter_that_the_model_does_not_have_is_passed_unchanged(
    server: RawServer, provider_of: Callable[..., Provider], sent: Any
) -> None:
    request = GenerationRequest(model="kirin_v2_1_reference2image", params={"image_list": sent})
    provider_of(server.url, image_key="url").submit(request, "job-1")
    assert _sent(server)["input"][0]["params"]["image_list"] == sent


@pytest.mark.parametrize(
    "params",
    [
        {"image_list": ["u"]},
        {"image_list": [{"url": "u"}]},
        {"image_list": 7},
        {"prompt": "half a pair: \ud800"},
        {"prompt": {"a set"}},
    ],
)
def test_a_request_that_cannot_be_encoded_is_refused_without_a_call(
    server: RawServer, provider_of: Callable[..., Provider], params: dict[str, Any]
) -> None:
    request = GenerationRequest(model="kirin_image_omni", params=params)
    outcome = provider_of(server.url, image_key="url").submit(request, "job-1")
    assert isinstance(outcome, Refused)
    assert not outcome.may_exist
    assert server.requests == []


@pytest.mark.parametrize("attempt", ["job-1", "job-1~2", "a:b.c-d_e~10"])
@pytest.mark.parametrize("base", ["https://boomerang.example", "https://boomerang.example/", "http://h:1/under"])
def test_the_callback_address_is_signed_by_the_first_secret(
    attempt: str,
    base: str,
    server: RawServer,
    provider_of: Callable[..., Provider],
    a_request: RequestOf,
) -> None:
    provider = provider_of(server.url, public_url=base, callback_secrets=(SECRET, "another-secret-of-ours"))
    provider.submit(a_request(callback_url="https://producer.example/x"), attempt)
    url = _sent(server)["input"][0]["params"]["callback_url"]
    prefix, callbacks, name, token = url.rsplit("/", 3)
    assert (prefix, callbacks) == (base.rstrip("/"), "callbacks")
    assert name.replace("%3A", ":") == attempt
    assert token_is_valid(attempt, token, [SECRET])
    assert not token_is_valid(attempt, token, ["another-secret-of-ours"])


PATHS = {
    "plain": ("job-1", "job-1"),
    "attempt": ("job-1~2", "job-1~2"),
    "colon": ("a:b", "a%3Ab"),
    "slash": ("../../admin", "..%2F..%2Fadmin"),
    "query": ("t?x=1#y", "t%3Fx%3D1%23y"),
    "not ASCII": ("\u00e9", "%C3%A9"),
}


@pytest.mark.parametrize(("name", "path"), PATHS.values(), ids=PATHS)
def test_an_id_is_one_segment_of_the_path(name: str, path: str, server: RawServer, provider: Provider) -> None:
    server.answer = respond(404, b"")
    assert provider.get_status(name, "job-1") == Absent()
    assert server.requests[0][:2] == ("GET", f"/model/v1/generation/task/{path}")


def test_the_look_up_path_is_a_setting(server: RawServer, provider_of: Callable[..., Provider]) -> None:
    server.answer = respond(200, b'{"id": "t1", "status": "in_progress"}')
    provider = provider_of(server.url, lookup_path="/v1/images?external_task_id={id}")
    assert provider.can_look_up
    assert isinstance(provider.find_by_external_id("job-1~2"), Found)
    assert server.requests[0][1] == "/v1/images?external_task_id=job-1~2"
    assert not provider_of(server.url, lookup_path="off").can_look_up


# --- what comes back ------------------------------------------------------------------------------------------------

ANSWERED: dict[str, tuple[Answer, object]] = {
    "created": (respond(200, CREATED), Created),
    "created, chunked": (
        lambda c: c.sendall(CHUNKED + f"{len(CREATED):x}\r\n".encode() + CREATED + b"\r\n0\r\n\r\n"),
        Created,
    ),
    "created, then cut off": (lambda c: (c.sendall(HEAD + CREATED), True)[1], Created),
    "created, then reset": (lambda c: (c.sendall(HEAD + CREATED[:-1]), time.sleep(0.1), reset(c))[2], Created),
    "created, in a chunk that is cut off": (lambda c: (c.sendall(CHUNKED + b"ff\r\n" + CREATED), True)[1], Created),
    "created, gzip": (respond(200, gzip.compress(CREATED), "Content-Encoding: gzip"), Created),
    "created, gzip without a header": (respond(200, gzip.compress(CREATED)), Created),
    "created, gzip of several members": (
        respond(200, b"".join(gzip.compress(bytes([byte])) for byte in CREATED) + b"\0" * 8),
        Created,
    ),
    "created, zlib": (respond(200, zlib.compress(CREATED), "Content-Encoding: deflate"), Created),
    "created, deflate": (respond(200, zlib.compress(CREATED)[2:-4], "Content-Encoding: deflate"), Created),
    "created, GBK": (
        respond(200, CREATED[:-1] + ', "m": "创建"}'.encode("gbk"), "Content-Type: application/json; charset=GBK"),
        Created,
    ),
    "created, UTF-16": (respond(200, CREATED.decode().encode("utf-16")), Created),
    "duplicate": (respond(409, b""), Exists),
    "refused": (respond(400, b'{"error": {"code": 2016001, "message": "x"}}'), Refused),
    "throttled": (respond(429, b"", "retry-after: 9"), Held),
    "key": (respond(401, b"", "WWW-Authenticate: Bearer"), Held),
}


@pytest.mark.parametrize(("answer", "meaning"), ANSWERED.values(), ids=ANSWERED)
def test_an_answer_is_read_in_every_framing(
    answer: Answer,
    meaning: Any,
    server: RawServer,
    provider: Provider,
    a_request: RequestOf,
) -> None:
    server.answer = answer
    outcome = provider.submit(a_request(), "job-1")
    assert type(outcome) is meaning
    if isinstance(outcome, Held) and outcome.throttled:
        assert outcome.retry_after == 9  # header names are case-insensitive


def test_a_connection_serves_many_calls(server: RawServer, provider: Provider, a_request: RequestOf) -> None:
    for _ in range(5):
        assert provider.submit(a_request(), "job-1") == Created("t1")
    assert server.connections == 1


def test_concurrent_calls_discard_no_connection(
    server: RawServer, provider_of: Callable[..., Provider], a_request: RequestOf
) -> None:
    # Given the most concurrent calls of each kind that one process makes
    provider = provider_of(server.url, concurrency=4, read_timeout=5)
    together = threading.Barrier(8)

    def answer(connection: socket.socket) -> None:
        together.wait(5)
        respond(200, CREATED)(connection)

    server.answer = answer

    def rounds(call: Callable[[], object]) -> None:
        for _ in range(3):
            call()

    calls: list[Callable[[], object]] = [
        lambda: provider.submit(a_request(), "job-1"),
        lambda: provider.find_by_external_id("x"),
    ]
    threads = [threading.Thread(target=rounds, args=(call,)) for call in calls * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(server.requests) == 24
    assert server.connections == 8
