"""The doctor names limits that lock producers out of a service that is reached in another way than they assume."""

from typing import Any

import pytest

from jobs.api_keys import PRODUCER, KeyRing
from jobs.store.store import Store
from ops.doctor.check import Level
from ops.doctor.limits import check_limits
from webhook.http.client_address import Networks
from webhook.settings import Settings

LONG = "f3Jx0Qw9zT1mB7vK2nR8sYdL5hPcA6eG"
SET = {"BOOMERANG_KEPT_ROOM": "0.25"}


def warned(env: dict[str, str] = SET, **settings: Any) -> set[str]:
    found = list(check_limits(Settings(callback_secrets=(LONG,), **settings), env))
    assert all(each.remedy for each in found if each.level is Level.WARNING)
    assert not [each for each in found if LONG in repr(each)]
    return {each.subject for each in found if each.level is Level.WARNING}


def proxies(text: str) -> Any:
    found: Any = Networks().deserialize(text)
    return tuple(found)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"public_url": "https://jobs.example.com"}, {"proxies"}),
        ({"public_url": "https://jobs.example.com", "trusted_proxies": proxies("10.0.0.1")}, set()),
        ({"public_url": "https://jobs.example.com", "max_connections": 0}, set()),
        ({"public_url": "http://127.0.0.1:8000"}, set()),
        ({}, set()),
        ({"api_keys": (f"shop:{LONG}",)}, set()),
        ({"api_keys": (f"shop:{LONG}", LONG[::-1])}, {"BOOMERANG_API_KEYS"}),
        ({"admin_keys": (LONG,)}, {"BOOMERANG_ADMIN_KEYS"}),
    ],
)
def test_limits_that_do_not_fit_are_named(settings: dict[str, Any], expected: set[str]) -> None:
    assert warned(**settings) == expected


@pytest.mark.parametrize(
    ("producers", "max_memory", "env", "expected"),
    [
        (2, 1_048_576.0, {}, {"BOOMERANG_KEPT_ROOM"}),
        (2, 1e12, {}, set()),
        (1, 1_048_576.0, {}, set()),
        (2, 1_048_576.0, SET, set()),
        (2, 0.0, {}, set()),
    ],
)
def test_room_that_is_kept_is_named_where_it_locks_a_producer_out(
    *, producers: int, max_memory: float, env: dict[str, str], expected: set[str], redis_url: str, store: Store
) -> None:
    ring = KeyRing(store.context.client, store.context.keys)
    for number in range(producers):
        ring.add(f"shop{number}", PRODUCER)
    assert warned(env, redis_url=redis_url, max_memory=max_memory) == expected
