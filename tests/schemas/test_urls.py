import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.urls import PRIVATE_HOSTS_ALLOWED, url_problem

PUBLIC = [
    "https://example.com/fox.png",
    "http://example.com",
    "HTTPS://EXAMPLE.COM/",
    "https://cdn.shop.example.co.uk:8443/a/b?x=1&sig=a%2Fb#c",
    "https://xn--bcher-kva.example/x",
    "https://my_bucket.storage.example.com/x",
    "https://example.com./x",
    "http://8.8.8.8/x",
    "http://[2606:4700::1111]/x",
    "https://local.example.com/",
    "https://localhost.example.com/",
    "https://1e100.net/",
    "https://example.com/a@b",
    "https://example.com:65535/",
]

NOT_PUBLIC = [
    "http://localhost/x",
    "http://LOCALHOST:80/x",
    "http://localhost./x",
    "http://a.localhost/x",
    "http://printer.local/x",
    "http://metadata.google.internal/x",
    "http://nas.lan/",
    "http://router.home.arpa/",
    "http://redis/x",
    "http://webhook:8000/x",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://100.64.0.1/",
    "http://127.0.0.1/",
    "http://127.255.255.254:6379/",
    "http://169.254.169.254/latest/meta-data",
    "http://172.16.0.1/",
    "http://192.0.0.8/",
    "http://192.0.2.1/",
    "http://192.168.1.1/",
    "http://198.18.0.1/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://239.1.1.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://127.0.0.1./",
    "http://[::]/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[4000::1]/",
]

MALFORMED = [
    ("", "must begin with http"),
    ("example.com/x", "must begin with http"),
    ("//example.com/x", "must begin with http"),
    ("ftp://example.com/", "must begin with http"),
    ("file:///etc/passwd", "must begin with http"),
    ("gopher://example.com/", "must begin with http"),
    ("http://", "no host"),
    ("http:///x", "no host"),
    ("http://./", "no host"),
    ("http://a..b/", "invalid host"),
    ("http://-a.example/", "invalid host"),
    ("http://exa%6dple.com/", "invalid host"),
    (f"http://{'a' * 64}.example/", "invalid host"),
    (f"http://{'a.' * 127}example/", "no host"),
    ("http://[::1/", "cannot be read"),
    ("http://[fe80::1%25eth0]/", "host"),
    ("http://2130706433/", "number as its host"),
    ("http://0x7f000001/", "number as its host"),
    ("http://0x7f.1/", "number as its host"),
    ("http://127.1/", "number as its host"),
    ("http://0177.0.0.1/", "number as its host"),
    ("http://0x7f.0x0.0x0.0x1/", "number as its host"),
    ("http://127.0.0.1.1/", "number as its host"),
    ("http://256.1.1.1/", "number as its host"),
    ("http://017700000001/", "number as its host"),
    ("http://user@example.com/", "credentials"),
    ("http://user:pass@example.com/", "credentials"),
    ("http://example.com@127.0.0.1/", "credentials"),
    ("http://@example.com/", "credentials"),
    ("http://example.com:0/", "port"),
    ("http://example.com:/", "port"),
    ("http://example.com:65536/", "port"),
    ("http://example.com:http/", "port"),
    ("http://example.com:-1/", "port"),
    ("http://example.com/a b", "percent-encode"),
    ("http://example.com/\n", "percent-encode"),
    ("http://exa\tmple.com/", "percent-encode"),
    ("http://example.com\\@127.0.0.1/", "percent-encode"),
    ("http://１２７.0.0.1/", "punycode"),
    ("http://bücher.example/", "punycode"),
    ("http://example.com/\ud800", "percent-encode"),
    ("https://example.com/".ljust(2049, "x"), "at most 2,048"),
]


@pytest.mark.parametrize("url", PUBLIC)
def test_public_urls_are_accepted(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize("url", NOT_PUBLIC)
def test_urls_that_are_not_public_are_refused(url: str) -> None:
    problem = url_problem(url)

    assert problem is not None
    assert "not public" in problem


@pytest.mark.parametrize(("url", "reason"), MALFORMED)
def test_malformed_urls_are_refused_with_the_reason(url: str, reason: str) -> None:
    assert reason in (url_problem(url) or "")


def test_in_development_private_hosts_are_accepted_and_malformed_urls_are_not() -> None:
    token = PRIVATE_HOSTS_ALLOWED.set(True)
    try:
        assert [url for url in PUBLIC + NOT_PUBLIC if url_problem(url)] == []
        assert [url for url, _ in MALFORMED if not url_problem(url)] == []
    finally:
        PRIVATE_HOSTS_ALLOWED.reset(token)
    assert url_problem("http://localhost/") is not None


@given(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(["http://", "https://[", "http://a.example:", ""]),
)
def test_any_text_is_judged_without_an_error(text: str, head: str) -> None:
    problem = url_problem(head + text)

    assert problem is None or problem.encode("utf-8")


@given(
    st.ip_addresses(v=4, network="10.0.0.0/8")
    | st.ip_addresses(v=4, network="127.0.0.0/8")
    | st.ip_addresses(v=6, network="fc00::/7")
)
def test_addresses_of_private_networks_are_refused(address: object) -> None:
    host = f"[{address}]" if ":" in str(address) else str(address)

    assert url_problem(f"http://{host}/") is not None
