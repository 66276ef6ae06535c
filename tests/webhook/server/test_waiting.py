"""Which waiting connection is closed first, and which addresses share a limit."""

from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.server.waiting import AddressLimit, Stage, Waiting


@dataclass(eq=False)
class Client:
    name: str
    group: str | None = "a"
    stage: Stage = Stage.FIRST_HEAD
    ends: float = 0.0


def test_the_oldest_goes_first_and_idle_ones_last() -> None:
    waiting = Waiting[Client]()
    idle = Client("idle", stage=Stage.NEXT_HEAD)
    old, young, other = Client("old"), Client("young"), Client("other", group="b")
    closing = Client("closing", group=None, stage=Stage.LINGERING)
    for client in (idle, old, other, young, closing):
        waiting.add(client)
    order = list[str]()
    while oldest := waiting.oldest():
        order.append(oldest.name)
        waiting.discard(oldest)
    assert order == ["closing", "old", "other", "young", "idle"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Stage), st.booleans())))
def test_a_group_loses_only_its_own(steps: list[tuple[str, Stage, bool]]) -> None:
    waiting, there = Waiting[Client](), list[Client]()
    for number, (group, stage, leaves) in enumerate(steps):
        new = Client(str(number), group, stage, ends=number)
        waiting.add(new)
        there.append(new)
        if leaves:
            waiting.discard(there.pop(0))
    for group in "abc":
        own = [client for client in there if client.group == group]
        assert waiting.oldest(group) is min(own, key=lambda each: each.stage, default=None)
    assert set(waiting.expired(5)) == {client for client in there if client.ends <= 5}


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        pytest.param("10.0.0.5", None, id="our own proxy"),
        pytest.param("", None, id="a Unix socket"),
    ],
)
def test_clients_share_a_limit_by_address(peer: str, group: str | None) -> None:
    assert AddressLimit(2, [ip_network("10.0.0.0/24")]).group(peer) == group


def test_a_group_has_too_many_beyond_its_limit() -> None:
    limit = AddressLimit(2, [])
    assert [limit.open("a") for _ in range(3)] == [False, False, True]
    assert limit.open("b") is False
    limit.close("a")
    limit.close("a")
    assert limit.open("a") is False
    assert AddressLimit(0, []).group("198.51.100.7") is None
