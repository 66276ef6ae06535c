"""Results come from public hosts only, within a time, whatever their server does."""

import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Client, downloading, public_hosts
from boomerang_client.outputs import Output
from boomerang_client.public_hosts import is_public
from boomerang_client.record_fields import Status
from boomerang_client.records import Job
from boomerang_client.saving import Saver
from tests.support.command import Command
from tests.support.fake_boomerang import FakeService, Fault
from tests.support.raw_server import Answer, RawServer, drip, respond

PNG = b"\x89PNG\r\n\x1a\npixels"
#: An address that the tests call public, and one that stays private.
PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("64:ff9b::5db8:d822", True),
        ("64:ff9b::a00:1", False), ("64:ff9b::a9fe:a9fe", False), ("64:ff9b::", False), ("64:ff9b::e000:1", False),
        ("64:ff9b::6440:1", False), ("64:ff9b:1::5db8:d822", False), ("64:ff9b:0:1::5db8:d822", False),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.0.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("255.255.255.255", False),
        ("224.0.0.1", False), ("240.0.0.1", False), ("192.0.0.8", False), ("192.0.2.1", False),
        ("::1", False), ("::", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", False),
        ("::127.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("2001:0:1::", False),
        ("fc00::1", False), ("fe80::1", False), ("fec0::1", False), ("ff02::1", False), ("3fff::1", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_public(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) is expected


@pytest.fixture
def _one_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(address: IPv4Address | IPv6Address) -> bool:
        return str(address) == PUBLIC

    monkeypatch.setattr(public_hosts, "is_public", judged)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], RawServer]]:
    servers: list[RawServer] = []

    def start(answer: Answer) -> RawServer:
        servers.append(RawServer(answer))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str | None]]:
    """`save(url)` saves a result from there and returns the error."""
    monkeypatch.setattr("boomerang_client.request_retries.BACKOFF_MAX", 0)
    savers: list[Saver] = []

    def run(url: str, **options: Any) -> str | None:
        savers.append(Saver(tmp_path, **options))
        job = Job(id="j", status=Status.COMPLETED, model="m", output=(Output(type="image", url=url),), raw={})
        saved = savers[-1].save_one(job, 0)
        assert (saved.path is None) == (saved.error is not None)
        assert list(tmp_path.iterdir()) == ([] if saved.path is None else [saved.path])
        return saved.error

    yield run
    for each in savers:
        each.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "127.1", "[::ffff:7f00:1]"]
)
def test_this_machine_is_not_called_under_any_notation(
    host: str, save: Callable[..., str | None], serve: Callable[[Answer], RawServer]
) -> None:
    server = serve(respond(200, PNG))
    error = save(f"http://{host}:{server.port}/a.png")
    assert error
    assert "not a public host" in error
    assert server.connections == 0


@pytest.mark.usefixtures("_one_is_public")
def test_a_redirect_to_a_private_host_is_not_followed(
    save: Callable[..., str | None], serve: Callable[[Answer], RawServer]
) -> None:
    inner = serve(respond(200, PNG))
    middle = serve(respond(302, b"", f"Location: http://{PRIVATE}:{inner.port}/secret.png"))
    outer = serve(respond(307, b"", f"Location: //{PUBLIC}:{middle.port}/next.png"))
    error = save(f"{outer.url}/a.png")
    assert error
    assert f"leads to {PRIVATE}, which is not a public host" in error
    assert "--private-hosts" in error
    assert (outer.connections, middle.connections, inner.connections) == (1, 1, 0)
    assert save(f"{outer.url}/a.png", private_hosts=True) is None or inner.connections == 0


@pytest.mark.usefixtures("_one_is_public")
def test_redirects_between_public_hosts_are_followed(
    save: Callable[..., str | None], serve: Callable[[Answer], RawServer]
) -> None:
    last = serve(respond(200, PNG))
    first = serve(respond(301, b"ignored", f"Location: {last.url}/b.png"))
    assert save(f"{first.url}/a.png") is None
    assert [path for _, path, *_ in last.requests] == ["/b.png"]


@pytest.mark.usefixtures("_one_is_public")
@pytest.mark.parametrize("target", ["/again", "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "\x00"])
def test_a_redirect_that_leads_nowhere_ends(
    target: str, save: Callable[..., str | None], serve: Callable[[Answer], RawServer]
) -> None:
    server = serve(respond(302, b"", f"Location: {target}"))
    assert save(f"{server.url}/a.png")
    assert len(server.requests) <= 4 * (downloading.MOST_REDIRECTS + 1)


def test_a_name_is_resolved_once_and_the_checked_address_is_called(
    save: Callable[..., str | None], serve: Callable[[Answer], RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_hosts, "is_public", lambda address: str(address) == PUBLIC)
    answers = [PUBLIC, PRIVATE, PRIVATE]
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != "rebinds.example":
            return real(host, port, *args, **kwargs)
        asked.append(host)
        return real(answers.pop(0), port, *args, **kwargs)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    server = serve(respond(200, PNG))
    assert save(f"http://rebinds.example:{server.port}/a.png") is None
    assert asked == ["rebinds.example"]
    # The server was asked for the name, not for the address.
    assert server.requests[0][2]["host"] == f"rebinds.example:{server.port}"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + PNG, b"HTTP/1.1 200 OK\r\nX: "])
def test_a_dripping_answer_ends_at_the_deadline(
    head: bytes, save: Callable[..., str | None], serve: Callable[[Answer], RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "LONGEST", 0.6)
    error = save(f"{serve(drip(head, b'x', 0.02)).url}/a.png", private_hosts=True)
    assert error
    assert "takes longer than" in error


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + PNG, b"HTTP/1.1 200 OK\r\nX: "])
def test_a_slow_answer_ends_soon(
    head: bytes, save: Callable[..., str | None], serve: Callable[[Answer], RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "RATE_AFTER", 0.3)
    error = save(f"{serve(drip(head, b'x', 0.02)).url}/a.png", private_hosts=True)
    assert error
    assert "arrives slower than 4 KiB per second" in error


def test_a_size_that_is_announced_is_refused_before_it_arrives(
    save: Callable[..., str | None], serve: Callable[[Answer], RawServer]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    error = save(f"{serve(drip(head, b'x')).url}/a.png", private_hosts=True)
    assert error
    assert "is larger than" in error


def test_private_hosts_are_called_where_the_service_is_at_a_private_address(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.files = {"one.png": PNG}
    with Client() as client:
        job = client.generate(model="kirin_image_omni", prompt="a boat", external_task_id="one").wait()
        assert [each.name for each in job.save(tmp_path)] == ["one-1.png"]
        assert client._may_call_private_hosts()
    with Client(private_hosts=False) as client, pytest.raises(Exception, match="not a public host"):
        client.job("one").save(tmp_path / "other")


def test_the_command_has_an_option_for_private_hosts(
    service: FakeService, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.files = {"one.png": PNG}
    with Client() as client:
        client.generate(model="kirin_image_omni", prompt="a boat", external_task_id="one").wait()
    monkeypatch.setattr("boomerang_client.connection.is_at_private_address", lambda _: False)
    refused = run("save", "--job", "one", "-o", str(tmp_path / "out"))
    assert (refused.exit_code, "--private-hosts" in refused.stderr) == (1, True)
    assert run("save", "--job", "one", "-o", str(tmp_path / "out"), "--private-hosts").exit_code == 0
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["one-1.png"]


def test_a_redirect_of_the_service_itself_is_refused(service: FakeService) -> None:
    service.faults.append(Fault(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    with Client() as client, pytest.raises(Exception, match="redirects to"):
        client.job("one")
