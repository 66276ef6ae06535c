"""Addresses take turns at the threads of a pool."""

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from webhook.http.client_address import Network, Networks
from webhook.server.pools import Pools
from webhook.server.turns import Turns
from webhook.server.waiting import AddressLimit


def started(requests: Sequence[str], threads: int) -> list[str]:
    """Return in which order requests of these groups are started, each of which ends when all others have come."""
    with ThreadPoolExecutor(1) as pool:
        order: list[str] = []
        turns = Turns(pool, threads)

        def start(group: str, _: Executor) -> None:
            order.append(group)

        for each in requests:
            turns.take(partial(str, each), partial(start, each))
        for _ in requests:
            turns.give_back()
        return order


def test_another_address_does_not_wait_for_a_flood() -> None:
    order = started(["flood"] * 50 + ["quiet"] + ["flood"] * 50 + ["second"], threads=3)
    assert order[:7] == ["flood"] * 3 + ["flood", "quiet", "second", "flood"]


@given(st.lists(st.sampled_from("abcd"), max_size=60), st.integers(1, 5))
def test_every_request_is_started_once_and_in_turn(requests: list[str], threads: int) -> None:
    order = started(requests, threads)
    assert sorted(order) == sorted(requests)
    waiting = requests[threads:]
    for number, group in enumerate(sorted(set(waiting))):
        # In each round, every group that waits has one turn
        assert order[threads:].index(group) < len(set(waiting)), number


@pytest.mark.parametrize(
    ("line", "like"),
    [
        ("GET http://x/healthz HTTP/1.1", "GET /healthz HTTP/1.1"),
        ("GET HTTPS://x:8000/readyz?a=1 HTTP/1.1", "GET /readyz HTTP/1.1"),
        ("POST http://[::1]:8000/callbacks/a/b HTTP/1.1", "POST /callbacks/a/b HTTP/1.1"),
        (f"GET http://{'x' * 300}/metrics HTTP/1.1", "GET /metrics HTTP/1.1"),
        ("GET http://x HTTP/1.1", "GET / HTTP/1.1"),
        ("GET http://x?a=1 HTTP/1.1", "GET /?a=1 HTTP/1.1"),
        ("POST http://x/login HTTP/1.1", "POST /login HTTP/1.1"),
        ("GET http://x/v1/jobs HTTP/1.1", "GET /v1/jobs HTTP/1.1"),
        ("GET /v1/jobs?next=http://x/healthz HTTP/1.1", "GET /v1/jobs HTTP/1.1"),
        ("GET ftp://x/healthz HTTP/1.1", "GET /nothing HTTP/1.1"),
    ],
)
def test_a_target_in_absolute_form_has_the_pool_of_its_path(line: str, like: str) -> None:
    with ThreadPoolExecutor(1) as others:
        pools = Pools(others, 1)
        expected = pools.of(bytearray(f"{like}\r\n\r\n".encode()))
        assert pools.of(bytearray(f"{line}\r\n\r\n".encode())) is expected
        pools.close()


def networks(text: str) -> tuple[Network, ...]:
    found: Any = Networks().deserialize(text)
    return tuple(found)


@pytest.mark.parametrize(
    ("proxies", "peer", "header", "expected"),
    [
        ("", "203.0.113.7", "", "203.0.113.7"),
        ("", "203.0.113.7", "X-Forwarded-For: 198.51.100.1\r\n", "203.0.113.7"),
        ("", "2001:db8::1", "", "2001:db8::/64"),
        ("10.0.0.0/8", "10.0.0.1", "X-Forwarded-For: 198.51.100.1\r\n", "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", "x-forwarded-for: 6.6.6.6, 198.51.100.1,10.1.1.1\r\n", "198.51.100.1"),
        ("10.0.0.0/8", "10.0.0.1", "X-Forwarded-For: 6.6.6.6\r\nX-FORWARDED-FOR: 2001:db8::9\r\n", "2001:db8::/64"),
        ("10.0.0.0/8", "10.0.0.1", "X-Forwarded-For: nonsense\r\n", ""),
        ("10.0.0.0/8", "198.51.100.2", "X-Forwarded-For: 6.6.6.6\r\n", "198.51.100.2"),
    ],
)
def test_behind_our_own_proxies_the_turn_is_the_clients(proxies: str, peer: str, header: str, expected: str) -> None:
    limit = AddressLimit(20, networks(proxies))
    assert limit.turn(limit.group(peer), bytearray(f"GET / HTTP/1.1\r\n{header}\r\n".encode())) == expected
