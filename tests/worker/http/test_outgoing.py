"""The client for addresses that producers name: what it refuses, and its deadlines, over real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.raw_server import Answer, RawServer, drip, respond
from tests.support.waiting import load, within
from worker.errors import NotifyFailed
from worker.http import name_lookup
from worker.http.outgoing import Outgoing

OK = respond(204, b"")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n"

#: Notations of this machine's address.
HERE = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "0",
    "0.0.0.0",
    "127.255.255.254",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "user@127.0.0.1",
    "example.com@127.0.0.1",
]

#: One address of each block that is not public (RFC 6890 and the registries after it).
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",  # carrier-grade NAT (RFC 6598), where cloud providers often have internal services
    "127.0.0.1",
    "169.254.169.254",  # the cloud's metadata service
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",  # 6to4 relays
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible (RFC 4291)
    "::ffff:127.0.0.1",  # IPv4-mapped
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::169.254.169.254",
    "64:ff9b::100.64.0.1",
    "64:ff9b::224.0.0.1",
    "64:ff9b::",
    "64:ff9b:1::10.0.0.1",  # NAT64, local
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",  # Teredo
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:20::1",  # ORCHID
    "2001:db8::1",
    "2002:7f00:1::1",  # 6to4
    "2002:a00:1::1",
    "3fff::1",
    "4000::1",  # not assigned
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
#: Public addresses. No test connects to them.
PUBLIC, PUBLIC_V6, PUBLIC_NAT64 = "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"


@pytest.fixture
def server() -> Iterator[RawServer]:
    server = RawServer(OK)
    yield server
    server.close()


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return `resolved(first, second)`, which sets the answers of successive look-ups. Its result lists the names."""
    really = socket.getaddrinfo

    def answering(*answers: tuple[str, ...]) -> list[str]:
        asked: list[str] = []

        def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if not str(host).endswith(".example"):
                return really(host, port, *args, **kwargs)
            asked.append(host)
            addresses = answers[min(len(asked), len(answers)) - 1]
            return [
                (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
                if ":" in address
                else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return answering


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of all attempts to connect. Every attempt is refused."""
    tried: list[str] = []

    def connect(self: socket.socket, address: Any) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


def post(url: str, **options: Any) -> int:
    return Outgoing(**options).post(url, b"{}", {"Content-Type": "application/json"})


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_not_reached_under_any_notation(host: str, server: RawServer) -> None:
    with pytest.raises(NotifyFailed):
        post(f"http://{host}:{server.port}/")
    assert server.connections == 0


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_not_even_connected_to(host: str, connected: list[str]) -> None:
    with pytest.raises(NotifyFailed):
        post(f"http://{host}:80/")
    assert connected == []


def test_the_listener_of_these_tests_can_be_reached(server: RawServer) -> None:
    assert post(server.url, private_hosts=True) == 204
    assert server.connections == 1


@pytest.mark.parametrize("address", NOT_PUBLIC)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_resolves_to_a_private_address_is_refused(
    scheme: str, address: str, resolved: Callable[..., list[str]], connected: list[str]
) -> None:
    asked = resolved((address,))
    with pytest.raises(NotifyFailed, match="InvalidIPAddress"):
        post(f"{scheme}://hook.example/")
    assert asked == ["hook.example"]
    assert connected == []


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_V6, PUBLIC_NAT64])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_connection_goes_to_the_checked_address(
    scheme: str, address: str, resolved: Callable[..., list[str]], connected: list[str]
) -> None:
    # Given a name that resolves to this machine from the second look-up on
    asked = resolved((address,), ("127.0.0.1",))
    with pytest.raises(NotifyFailed):
        post(f"{scheme}://hook.example/")
    assert asked == ["hook.example"]
    assert connected == [address]


def test_only_the_checked_address_of_several_is_tried(resolved: Callable[..., list[str]], connected: list[str]) -> None:
    resolved((PUBLIC, "127.0.0.1"))
    with pytest.raises(NotifyFailed):
        post("http://hook.example/")
    assert connected == [PUBLIC]


def test_each_post_resolves_the_name_again(resolved: Callable[..., list[str]], connected: list[str]) -> None:
    # Given a name that resolves to a public address at first
    asked = resolved((PUBLIC,), ("127.0.0.1",))
    outgoing = Outgoing()
    for _ in range(2):
        with pytest.raises(NotifyFailed):
            outgoing.post("http://hook.example/", b"{}", {})
    assert (len(asked), connected) == (2, [PUBLIC])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_like_any_other(status: int, server: RawServer) -> None:
    other = RawServer(OK)
    server.answer = respond(status, b"", f"Location: {other.url}/")
    assert post(server.url, private_hosts=True) == status
    other.close()
    assert (server.connections, other.connections) == (1, 0)


@pytest.mark.parametrize("private_hosts", [False, True])
def test_the_environments_proxy_is_ignored(
    private_hosts: bool, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = RawServer(OK)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    if private_hosts:
        assert post(server.url, private_hosts=True) == 204
    else:
        with pytest.raises(NotifyFailed):
            post(server.url)
    proxy.close()
    assert proxy.connections == 0


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://8.8.8.8/", "gopher://8.8.8.8/", "//8.8.8.8/", "", "x"])
def test_only_http_is_accepted(url: str, connected: list[str]) -> None:
    with pytest.raises(NotifyFailed):
        post(url)
    assert connected == []


DRIPS: dict[str, Answer] = {
    "status line": drip(b"HTTP/1.1 200 ", b"O"),
    "header line": drip(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("answer", DRIPS.values(), ids=DRIPS)
def test_a_slow_answer_ends_at_the_deadline(answer: Answer, server: RawServer) -> None:
    server.answer = answer
    with within(10), pytest.raises(NotifyFailed):  # without a deadline it would not end
        post(server.url, private_hosts=True, timeout=(0.2, 0.15))


def test_a_server_that_does_not_read_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as not_reading:
        url = f"http://127.0.0.1:{not_reading.getsockname()[1]}/"
        with within(10), pytest.raises(NotifyFailed):
            Outgoing(private_hosts=True, timeout=(0.5, 0.4)).post(url, b"x" * 30_000_000, {})


def test_the_body_of_an_answer_is_not_read(server: RawServer) -> None:
    sent = [0]

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD)
        for _ in range(200):
            connection.sendall(b" " * 1024 * 1024)
            sent[0] += 1

    server.answer = answer
    assert post(server.url, private_hosts=True) == 200
    server.close()
    assert sent[0] < 16  # what the sockets' buffers may hold


@pytest.mark.parametrize("location", ["/x", "http://[::1/x", "caf\xe9", "//"])
def test_the_body_of_a_redirect_is_not_read(location: str, server: RawServer) -> None:
    sent = [0]

    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Encoding: gzip\r\nContent-Length: 209715200\r\n\r\n"
        connection.sendall(head.encode("latin-1"))
        for _ in range(200):
            connection.sendall(b" " * 1024 * 1024)
            sent[0] += 1

    server.answer = answer
    assert post(server.url, private_hosts=True) == 302
    server.close()
    assert sent[0] < 16  # what the sockets' buffers may hold


def test_endless_headers_are_cut(server: RawServer) -> None:
    server.answer = respond(200, b"", f"X-Long: {'y' * 10_000_000}")
    with pytest.raises(NotifyFailed):
        post(server.url, private_hosts=True)


def test_the_error_does_not_contain_the_address(resolved: Callable[..., list[str]]) -> None:
    resolved(("10.0.0.1",))
    with pytest.raises(NotifyFailed) as caught:
        post("http://hook.example/?token=canary")
    assert str(caught.value) == "InvalidIPAddress"


@pytest.mark.parametrize("private_hosts", [False, True])
def test_a_name_server_that_hangs_does_not_prolong_the_call(
    private_hosts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        released.wait(30)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begin = time.monotonic()
    with pytest.raises(NotifyFailed):
        post("https://shop.example/", private_hosts=private_hosts, timeout=(0.2, 0.3))
    assert time.monotonic() - begin < 5 * load()
    released.set()


def test_many_addresses_that_do_not_answer_share_the_time(
    resolved: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(tuple(f"10.0.0.{number}" for number in range(1, 100)))
    tried: list[str] = []

    def connect(self: socket.socket, address: Any) -> None:
        tried.append(address[0])
        threading.Event().wait(self.gettimeout())
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", connect)
    begin = time.monotonic()
    with pytest.raises(NotifyFailed):
        post("http://shop.example/", private_hosts=True, timeout=(0.1, 0.4))
    assert time.monotonic() - begin < 5 * load()
    assert len(tried) > 1


def test_look_ups_left_behind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_lookup, "_free", threading.BoundedSemaphore(1))
    released = threading.Event()
    with pytest.raises(TimeoutError):
        name_lookup.bounded(lambda: released.wait(30), time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        name_lookup.bounded(lambda: "never asked", time.monotonic() + 0.05)
    released.set()
    assert name_lookup.bounded(lambda: "found", time.monotonic() + 5) == "found"
