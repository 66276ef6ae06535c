"""Downloads from servers that are slow, broken, hostile or just odd, over real sockets."""

import gzip
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.certificates import make_certificates
from tests.support.http_proxy import HttpProxy
from tests.support.raw_server import Answer, RawServer, close, drip, reset, respond
from tests.support.waiting import within
from worker.errors import DownloadFailed
from worker.http import download, transfer
from worker.http.download import MOST_REDIRECTS, TRIES, Downloader
from worker.http.transfer import GRACE, Body, Bounds

DATA = Random(1).randbytes(300_000)
BODY = Body(sha256(DATA).hexdigest(), len(DATA))
BOUNDS = Bounds(size=1_000_000, rate=1_000_000)


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer(respond(200, DATA))
    yield server
    server.close()


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return `resolved(first, second)`, which sets the answers of successive look-ups. Its result lists the names."""
    really = socket.getaddrinfo

    def answering(*answers: str) -> list[str]:
        asked: list[str] = []

        def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if not str(host).endswith(".example"):
                return really(host, port, *args, **kwargs)
            asked.append(host)
            address = answers[min(len(asked), len(answers)) - 1]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return answering


def fetch(
    url: str, *, seconds: float = 30, bounds: Bounds = BOUNDS, private_hosts: bool = True, **options: Any
) -> Body:
    file = BytesIO()
    body = Downloader(bounds, private_hosts=private_hosts, **options).download(url, file, seconds)
    assert Body(sha256(file.getvalue()).hexdigest(), len(file.getvalue())) == body
    return body


def refused(url: str, **options: Any) -> DownloadFailed:
    with pytest.raises(DownloadFailed) as caught:
        fetch(url, **options)
    assert "canary" not in str(caught.value)
    return caught.value


def raw(*pieces: bytes, end: Answer = close) -> Answer:
    def answer(connection: socket.socket) -> bool | None:
        for piece in pieces:
            connection.sendall(piece)
        return end(connection)

    return answer


def head(*lines: str, status: int = 200) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode()


def chunked(*chunks: bytes) -> bytes:
    return b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)


WHOLE: dict[str, Answer] = {
    "length": respond(200, DATA),
    "chunks": raw(head("Transfer-Encoding: chunked"), chunked(DATA[:7], DATA[7:]) + b"0\r\n\r\n"),
    "until it closes": raw(head(), DATA),
    "length beside chunks": raw(head("Content-Length: 5", "Transfer-Encoding: chunked"), chunked(DATA) + b"0\r\n\r\n"),
    "more than its length": raw(head(f"Content-Length: {len(DATA)}"), DATA + b"more"),
    "gzip": respond(200, gzip.compress(DATA), "Content-Encoding: gzip"),
    "x-gzip": respond(200, gzip.compress(DATA), "Content-Encoding: X-GZIP"),
    "gzip members": respond(200, gzip.compress(DATA[:9]) + gzip.compress(DATA[9:]) + b"\0\0", "Content-Encoding: gzip"),
    "zlib": respond(200, zlib.compress(DATA), "Content-Encoding: deflate"),
    "deflate": respond(200, zlib.compress(DATA, wbits=-15), "Content-Encoding: deflate"),
    "identity": respond(200, DATA, "Content-Encoding: identity"),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_is_taken_however_it_is_sent(answer: Answer, server: RawServer) -> None:
    server.answer = answer
    assert fetch(f"{server.url}/a?token=canary") == BODY
    _, _, headers, _ = server.requests[0]
    assert (headers["accept-encoding"], headers["user-agent"]) == ("identity", "boomerang")


def test_connections_are_used_again_but_no_cookies_are_kept(server: RawServer) -> None:
    server.answer = respond(200, DATA, "Set-Cookie: session=1; Path=/")
    downloader = Downloader(BOUNDS, private_hosts=True)
    for _ in range(3):
        assert downloader.download(server.url, BytesIO(), 30) == BODY
    assert server.connections == 1
    assert not any("cookie" in headers for _, _, headers, _ in server.requests)


CUT: dict[str, Answer] = {
    "at once": close,
    "reset": reset,
    "short": raw(head(f"Content-Length: {len(DATA)}"), DATA[:1000]),
    "in a chunk": raw(head("Transfer-Encoding: chunked"), chunked(DATA)[:1000]),
    "between chunks": raw(head("Transfer-Encoding: chunked"), chunked(DATA[:1000])),
    "gzip": respond(200, gzip.compress(DATA)[:-9], "Content-Encoding: gzip"),
    "no gzip": respond(200, DATA, "Content-Encoding: gzip"),
    "zlib": respond(200, zlib.compress(DATA)[:-1], "Content-Encoding: deflate"),
    "not HTTP": raw(b"SSH-2.0-OpenSSH\r\n"),
    "endless headers": respond(200, b"", f"X-Long: {'y' * 1_000_000}"),
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_file_that_breaks_off_is_not_taken(answer: Answer, server: RawServer) -> None:
    server.answer = answer
    assert not refused(f"{server.url}/a?token=canary").gone


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "aes128gcm"])
def test_another_compression_is_refused(coding: str, server: RawServer) -> None:
    server.answer = respond(200, DATA, f"Content-Encoding: {coding}")
    assert "compressed" in str(refused(server.url))


@pytest.mark.parametrize(
    ("status", "gone"),
    [(404, True), (410, True), *((status, False) for status in (403, 401, 500, 204, 206, 416, 304))],
)  # fmt: skip
def test_other_answers_are_failures(status: int, gone: bool, server: RawServer) -> None:
    server.answer = respond(status, b"x" if status not in (204, 304) else b"")
    assert refused(server.url).gone is gone


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_may_say_when_to_ask_again(status: int, server: RawServer) -> None:
    server.answer = respond(status, b"", "Retry-After: 33")
    assert refused(server.url).retry_after == 33


BOMB = gzip.compress(bytes(20_000_000), 9)
LARGE: dict[str, Answer] = {
    "announced": raw(head("Content-Length: 1000001")),
    "chunks": raw(head("Transfer-Encoding: chunked"), chunked(*[DATA] * 4)),
    "until it closes": raw(head(), *[DATA] * 4),
    "bomb": respond(200, BOMB, "Content-Encoding: gzip"),
    "bomb of members": respond(200, gzip.compress(bytes(900_000)) * 50, "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_a_file_that_is_too_large_is_left(answer: Answer, server: RawServer) -> None:
    server.answer = answer
    assert "BOOMERANG_RESULT_MAX_SIZE" in str(refused(server.url))


SLOW: dict[str, Answer] = {
    "silent": lambda connection: bool(connection.recv(1)),
    "head": drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "body": drip(head("Content-Length: 100000"), b"y"),
    "chunks": drip(head("Transfer-Encoding: chunked"), b"1\r\ny\r\n"),
    "silent in the middle": raw(head("Content-Length: 100000"), b"y" * 500, end=lambda sock: bool(sock.recv(1))),
}


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_a_server_that_is_too_slow_is_left(answer: Answer, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (download, transfer):
        monkeypatch.setattr(module, "GRACE", 0.3)
    server.answer = answer
    with within(10):
        assert "too slow" in (problem := str(refused(server.url, bounds=Bounds(1_000_000, rate=1000))))
        assert int(problem.split()[-2]) < 600


def test_the_least_rate_lets_a_steady_server_take_longer_than_the_grace(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (download, transfer):
        monkeypatch.setattr(module, "GRACE", 0.3)

    def steady(connection: socket.socket) -> None:
        connection.sendall(head("Content-Length: 20000"))
        for _ in range(20):
            connection.sendall(b"y" * 1000)
            time.sleep(0.05)  # the pace of the server, not a wait of the test

    server.answer = steady
    assert fetch(server.url, bounds=Bounds(1_000_000, rate=8000)).size == 20_000
    with within(10):
        assert "too slow" in str(refused(server.url, seconds=0.4, bounds=Bounds(1_000_000, rate=8000)))


def resuming(*lengths: int, tag: str = '"v1"', ranges: str = "bytes") -> Answer:
    """Break off after so many bytes of each answer, and continue where a request asks for it."""
    left = list(lengths)

    def answer(connection: socket.socket) -> bool:
        _, _, headers, _ = server_of[0].requests[-1]
        start = 0
        if headers.get("if-range") == tag and "range" in headers:
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        rest = DATA[start:]
        lines = [f"Content-Length: {len(rest)}", f"ETag: {tag}", f"Accept-Ranges: {ranges}"]
        lines += [f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"] if start else []
        connection.sendall(head(*lines, status=206 if start else 200) + rest[: left.pop(0) if left else None])
        return True

    return answer


#: The server that `resuming` answers for.
server_of: list[RawServer] = []


@pytest.fixture
def resumable(server: RawServer) -> Iterator[RawServer]:
    server_of.append(server)
    yield server
    server_of.clear()


@pytest.mark.parametrize("lengths", [(1000,), (1, 1, 1), (100_000, 50_000), (299_999,)])
def test_a_transfer_that_broke_off_is_continued(lengths: tuple[int, ...], resumable: RawServer) -> None:
    resumable.answer = resuming(*lengths)
    assert fetch(resumable.url) == BODY
    ranges = [headers.get("range") for _, _, headers, _ in resumable.requests]
    assert ranges == [None, *(f"bytes={sum(lengths[: place + 1])}-" for place in range(len(lengths)))]


@pytest.mark.parametrize("options", [{"tag": 'W/"v1"'}, {"ranges": "none"}])
def test_it_is_not_continued_if_the_server_cannot(options: dict[str, str], resumable: RawServer) -> None:
    resumable.answer = resuming(1000, **options)
    assert "1,000 bytes" in str(refused(resumable.url))
    assert len(resumable.requests) == 1


def test_a_transfer_that_breaks_off_again_and_again_ends(resumable: RawServer) -> None:
    resumable.answer = resuming(*[10] * 100)
    refused(resumable.url)
    assert len(resumable.requests) == TRIES


def test_a_file_that_changed_meanwhile_is_taken_from_the_start(resumable: RawServer) -> None:
    first = resuming(1000, tag='"old"')

    def answer(connection: socket.socket) -> bool | None:
        return (first if len(resumable.requests) == 1 else respond(200, DATA))(connection)

    resumable.answer = answer
    assert fetch(resumable.url) == BODY


@pytest.mark.parametrize("line", ["Content-Range: bytes 5-299999/300000", "Content-Range: bytes */300000", "X: y"])
def test_another_range_is_refused(line: str, resumable: RawServer) -> None:
    first = resuming(1000)

    def answer(connection: socket.socket) -> bool | None:
        return (first if len(resumable.requests) == 1 else respond(206, DATA[1000:], line))(connection)

    resumable.answer = answer
    assert "another byte" in str(refused(resumable.url))


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Range: bytes 1000-299999/300000", 'ETag: "v2"'),
        ("Content-Range: bytes 1000-299999/300001", 'ETag: "v1"'),
        ("Content-Range: bytes 1000-300000/300001",),
    ],
)
def test_parts_of_two_files_are_not_joined(lines: tuple[str, ...], resumable: RawServer) -> None:
    answers = iter([resuming(1000), respond(206, b"x" * 299_000, *lines), respond(200, DATA)])

    def answer(connection: socket.socket) -> bool | None:
        return next(answers)(connection)

    resumable.answer = answer
    assert fetch(resumable.url) == BODY


@pytest.mark.parametrize("length", ["-5", "+5", "five", "0x5", "", "²"])
def test_an_unreadable_length_is_refused(length: str, server: RawServer) -> None:
    server.answer = raw(head(f"Content-Length: {length}"), DATA[:1000])
    refused(server.url)


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 4096, gzip.compress(b"")], ids=["zeros", "pages", "empty members"])
def test_a_compressed_body_is_bounded_as_it_is_sent(padding: bytes, server: RawServer) -> None:
    body = gzip.compress(b"a") + padding * (2_000_000 // len(padding))
    server.answer = raw(head("Content-Encoding: gzip", "Transfer-Encoding: chunked"), chunked(body))
    with within(10):
        assert "1,000,000" in str(refused(server.url))


def test_a_range_that_cannot_be_satisfied_begins_anew(resumable: RawServer) -> None:
    answers = iter([resuming(1000), respond(416, b""), respond(200, DATA)])

    def answer(connection: socket.socket) -> bool | None:
        return next(answers)(connection)

    resumable.answer = answer
    assert fetch(resumable.url) == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int, server: RawServer) -> None:
    other = RawServer(respond(status, b"", f"Location: {server.url}/b%20c?x=1"))
    first = RawServer(respond(status, b"", f"Location: {other.url}/other"))
    assert fetch(first.url) == BODY
    assert server.requests[0][:2] == ("GET", "/b%20c?x=1")
    for each in (first, other):
        each.close()


@pytest.mark.parametrize(
    "location",
    ["", "http://", "ftp://127.0.0.1/", "file:///etc/passwd", "http://a:b@127.0.0.1/", "http://[::1", "//%00/", "\x80"],
)  # fmt: skip
def test_a_redirect_to_nowhere_is_a_failure(location: str, server: RawServer) -> None:
    server.answer = raw(head(f"Location: {location}", "Content-Length: 0", status=302))
    refused(server.url)


def test_redirects_have_an_end(server: RawServer) -> None:
    server.answer = respond(302, b"", "Location: /again")
    assert "redirected" in str(refused(server.url))
    assert len(server.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0.0.0.0", "[::ffff:7f00:1]"]
)
def test_hosts_of_the_own_network_are_refused(host: str, server: RawServer) -> None:
    assert "BOOMERANG_ALLOW_PRIVATE_HOSTS" in str(
        refused(f"http://{host}:{server.port}/?token=canary", private_hosts=False)
    )
    assert server.connections == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_names_that_lead_into_the_own_network_are_refused(
    scheme: str, address: str, resolved: Callable[..., list[str]], server: RawServer
) -> None:
    asked = resolved(address)
    refused(f"{scheme}://cdn.example:{server.port}/", private_hosts=False)
    assert (asked, server.connections) == (["cdn.example"], 0)


def test_every_redirect_is_checked(
    resolved: Callable[..., list[str]], server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host is public (a connection there leads to the server of this test); the second is not."""
    connect = socket.socket.connect
    tried: list[str] = []

    def connecting(self: socket.socket, address: Any) -> None:
        tried.append(address[0])
        connect(self, ("127.0.0.1", server.port))

    monkeypatch.setattr(socket.socket, "connect", connecting)
    resolved("8.8.8.8", "127.0.0.1")
    for target in (
        "http://127.0.0.1/",
        "http://cdn.example/x",
        "http://[::ffff:127.0.0.1]/",
        "http://metadata.internal/",
    ):
        tried.clear()
        server.answer = respond(302, b"", f"Location: {target}")
        resolved("8.8.8.8", "127.0.0.1")
        refused("http://cdn.example/", private_hosts=False)
        assert tried == ["8.8.8.8"], target


@pytest.mark.stack
def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, server: RawServer) -> None:
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    secure = RawServer(respond(302, b"", f"Location: {server.url}/"), context)
    assert "https to http" in str(refused(secure.url, ca=str(tmp_path / "ca.pem")))
    secure.answer = respond(200, DATA)
    assert fetch(secure.url, ca=str(tmp_path / "ca.pem")) == BODY
    assert "SSL" in str(refused(secure.url))
    secure.close()


def test_a_proxy_can_be_used_and_that_of_the_environment_is_not(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetch(server.url) == BODY
    proxy = HttpProxy(hosts={"cdn.example.com": "127.0.0.1"})
    url = f"http://cdn.example.com:{server.port}/"
    assert fetch(url, private_hosts=False, proxy=f"http://{proxy.address}") == BODY
    refused(f"http://127.0.0.1:{server.port}/", private_hosts=False, proxy=f"http://{proxy.address}")
    proxy.close()
    assert len(proxy.forwarded) == 1


def test_the_time_for_a_file_follows_its_size() -> None:
    assert Downloader(Bounds(10_000_000, 1000)).longest == GRACE + 10_000


def test_a_full_disk_is_not_the_servers_fault(server: RawServer) -> None:
    class Full(BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(DownloadFailed, match="No space left"):
        Downloader(BOUNDS, private_hosts=True).download(server.url, Full(), 30)
