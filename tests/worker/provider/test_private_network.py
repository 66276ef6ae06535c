"""A provider behind a private certificate authority and a proxy, over real sockets."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.errors import SettingsInvalid
from jobs.logs import secrets_of
from tests.support.certificates import make_certificates
from tests.support.http_proxy import HttpProxy
from tests.support.raw_server import Answer, RawServer, close, drip, reset, respond
from tests.support.waiting import within
from tests.support.world import RequestOf
from worker.provider import Created, Doubtful, Found, NotSent, Provider, Unavailable
from worker.settings import Settings

KEY = "canary-provider-key-7f3a"
CREATED = b'{"id": "t1", "status": "in_progress"}'
ProviderOf = Callable[..., Provider]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def secured(certificates: Path) -> Iterator[RawServer]:
    """A provider whose certificate is signed by the private authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    server = RawServer(respond(200, CREATED), context)
    yield server
    server.close()


@pytest.fixture
def plain() -> Iterator[RawServer]:
    server = RawServer(respond(200, CREATED))
    yield server
    server.close()


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    proxy = HttpProxy(hosts={"provider.example": "127.0.0.1"})
    yield proxy
    proxy.close()


@pytest.fixture
def provider_of(certificates: Path) -> Iterator[ProviderOf]:
    """`provider_of(url, BOOMERANG_PROVIDER_PROXY=…)`: a client that trusts the private authority."""
    made: list[Provider] = []

    def make(url: str, **variables: str) -> Provider:
        env = {
            "BOOMERANG_PROVIDER_URL": url,
            "BOOMERANG_PROVIDER_KEY": KEY,
            "BOOMERANG_PROVIDER_CA": str(certificates / "ca.pem"),
            "BOOMERANG_CONNECT_TIMEOUT": "1",
            "BOOMERANG_READ_TIMEOUT": "1",
        }
        made.append(Provider(Settings.from_env(env | variables)))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- the authority ----------------------------------------------------------------------------------------------------


def test_a_private_authority_is_trusted_where_it_is_set(
    secured: RawServer, provider_of: ProviderOf, a_request: RequestOf
) -> None:
    provider = provider_of(secured.url)
    assert provider.submit(a_request(), "job-1") == Created("t1")
    assert isinstance(provider.get_status("t1", "job-1"), Found)
    unset = provider_of(secured.url, BOOMERANG_PROVIDER_CA="")
    assert isinstance(unset.submit(a_request(), "job-2"), NotSent)
    assert [method for method, *_ in secured.requests] == ["POST", "GET"]


def test_a_file_without_certificates_is_refused_at_the_start(tmp_path: Path, certificates: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for file in (tmp_path / "missing.pem", tmp_path / "empty.pem", tmp_path, certificates / "server.key"):
        with pytest.raises(SettingsInvalid) as raised:
            Settings.from_env({"BOOMERANG_PROVIDER_CA": str(file)})
        assert str(file) in raised.value.problems[0]


# --- the proxy --------------------------------------------------------------------------------------------------------


def test_calls_go_through_a_tunnel_to_the_provider(
    secured: RawServer, proxy: HttpProxy, provider_of: ProviderOf, a_request: RequestOf
) -> None:
    # Only the proxy can resolve this name.
    provider = provider_of(
        f"https://provider.example:{secured.port}", BOOMERANG_PROVIDER_PROXY=f"http://{proxy.address}"
    )
    assert provider.submit(a_request(), "job-1") == Created("t1")
    assert isinstance(provider.get_status("t1", "job-1"), Found)
    assert proxy.tunnels == [f"provider.example:{secured.port}"]
    assert [method for method, *_ in secured.requests] == ["POST", "GET"]


def test_a_provider_without_tls_is_reached_by_forwarded_requests(
    plain: RawServer, proxy: HttpProxy, provider_of: ProviderOf, a_request: RequestOf
) -> None:
    provider = provider_of(plain.url, BOOMERANG_PROVIDER_PROXY=f"http://{proxy.address}")
    assert provider.submit(a_request(), "job-1") == Created("t1")
    assert isinstance(provider.get_status("t1", "job-1"), Found)
    assert [method for method, _ in proxy.forwarded] == ["POST", "GET"]
    assert all(url.startswith(plain.url) for _, url in proxy.forwarded)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_proxy_gets_its_password_and_the_provider_does_not(
    *,
    scheme: str,
    plain: RawServer,
    secured: RawServer,
    proxy: HttpProxy,
    provider_of: ProviderOf,
    a_request: RequestOf,
) -> None:
    server = secured if scheme == "https" else plain
    proxy.authorization = "Basic Ym9vOnAhc3N3b3Jk"  # boo:p!ssword
    right = provider_of(server.url, BOOMERANG_PROVIDER_PROXY=f"http://boo:p%21ssword@{proxy.address}")
    assert right.submit(a_request(), "job-1") == Created("t1")
    ((_, _, headers, _),) = server.requests
    assert "proxy-authorization" not in headers
    # With a wrong one nothing reaches the provider, and the reason says whose answer it was
    wrong = provider_of(server.url, BOOMERANG_PROVIDER_PROXY=f"http://boo:wrong-password@{proxy.address}")
    outcome = wrong.submit(a_request(), "job-2")
    assert isinstance(outcome, NotSent)
    assert "proxy" in outcome.reason
    assert "407" in outcome.reason
    assert isinstance(wrong.get_status("t1", "job-1"), Unavailable)
    assert len(server.requests) == 1


def test_the_password_is_a_secret() -> None:
    settings = Settings.from_env({"BOOMERANG_PROVIDER_PROXY": "http://boo:p%21ssword@proxy.example:3128"})
    assert "p%21ssword" not in repr(settings)
    assert {"p%21ssword", "p!ssword"} <= secrets_of(settings)
    with pytest.raises(SettingsInvalid) as raised:
        Settings.from_env({"BOOMERANG_PROVIDER_PROXY": "socks5://boo:p%21ssword@proxy.example"})
    assert "p%21ssword" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_unreachable_proxy_means_that_nothing_was_sent(
    scheme: str, plain: RawServer, secured: RawServer, provider_of: ProviderOf, a_request: RequestOf
) -> None:
    server = secured if scheme == "https" else plain
    proxy = HttpProxy()
    proxy.close()
    provider = provider_of(server.url, BOOMERANG_PROVIDER_PROXY=f"http://{proxy.address}")
    assert isinstance(provider.submit(a_request(), "job-1"), NotSent)
    assert server.requests == []


TUNNELS: dict[str, Answer] = {
    "refused": respond(502, b""),
    "closed": close,
    "reset": reset,
    "not HTTP": lambda c: (c.sendall(b"SSH-2.0-OpenSSH_9\r\n"), True)[1],
    "a header without end": drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"y"),
}


@pytest.mark.parametrize("answer", TUNNELS.values(), ids=TUNNELS)
def test_a_tunnel_that_does_not_open_in_time_means_that_nothing_was_sent(
    answer: Answer, secured: RawServer, plain: RawServer, provider_of: ProviderOf, a_request: RequestOf
) -> None:
    plain.answer = answer
    provider = provider_of(secured.url, BOOMERANG_PROVIDER_PROXY=plain.url)
    with within(4):  # the time-outs are 2 s together
        assert isinstance(provider.submit(a_request(), "job-1"), NotSent)
    assert secured.requests == []


@pytest.mark.parametrize("lost", [close, reset])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_answer_lost_behind_the_proxy_leaves_doubt(
    *,
    scheme: str,
    lost: Answer,
    plain: RawServer,
    secured: RawServer,
    proxy: HttpProxy,
    provider_of: ProviderOf,
    a_request: RequestOf,
) -> None:
    # urllib3 reports this as a failure to connect to the proxy, although the request arrived.
    if scheme == "https":
        server, target = secured, secured.url
        address = f"http://{proxy.address}"
    else:
        server, target = plain, "http://provider.example"
        address = plain.url
    server.answer = lost
    outcome = provider_of(target, BOOMERANG_PROVIDER_PROXY=address).submit(a_request(), "job-1")
    assert isinstance(outcome, Doubtful)
    assert len(server.requests) == 1


def test_the_environment_of_other_tools_has_no_effect(
    secured: RawServer, provider_of: ProviderOf, a_request: RequestOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    assert provider_of(secured.url).submit(a_request(), "job-1") == Created("t1")


def test_no_proxy_of_the_environment_does_not_switch_the_proxy_off(
    secured: RawServer, proxy: HttpProxy, provider_of: ProviderOf, a_request: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    provider = provider_of(secured.url, BOOMERANG_PROVIDER_PROXY=f"http://{proxy.address}")
    assert provider.submit(a_request(), "job-1") == Created("t1")
    assert len(proxy.tunnels) == 1
