import tracemalloc
from ipaddress import ip_address
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import PRODUCER, KeyRing
from jobs.errors import SettingsInvalid
from jobs.store.store import Store
from webhook.access.rate_limits import GUESSES, GUESSES_OF_SITE, Buckets, Rate, RateLimits, read_rates
from webhook.app import create_app
from webhook.http.problems import ProblemError
from webhook.settings import Settings


def app_of(store: Store, rate: str) -> Any:
    settings = Settings(api_keys=("shop:one", "shop:two"), callback_secrets=("a-callback-secret",), rate_limit=rate)
    return create_app(settings, store, lambda *_: True).test_client()


def ask(client: FlaskClient, secret: str, path: str = "/v1/lanes", **options: Any) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {secret}"}, **options)


def test_a_key_beyond_its_rate_gets_429_and_retry_after(store: Store) -> None:
    client = app_of(store, "100/second; 2/day")
    answers = [ask(client, "one") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 24 * 3600
    assert "2 requests per day" in answers[2].json["detail"]
    # Another key of the same producer has its own count
    assert ask(client, "two").status_code == 200
    contract = client.post("/model/v1/generation", json={}, headers={"Authorization": "Bearer one"})
    assert (contract.status_code, contract.json["error"]["code"]) == (429, "1303")


def test_public_endpoints_are_not_rate_limited(store: Store) -> None:
    client = app_of(store, "1/day")
    assert [client.get("/healthz").status_code for _ in range(3)] == [200, 200, 200]
    assert [client.post("/callbacks/x/y", json={}).status_code for _ in range(3)] == [403, 403, 403]
    assert ask(client, "one").status_code == 200


def test_the_rate_limit_can_be_switched_off(store: Store) -> None:
    client = app_of(store, "off")
    assert {ask(client, "one").status_code for _ in range(50)} == {200}


@pytest.mark.parametrize("rate", ["", "often", "5", "5/fortnight", "0", "0/second", "5/second;", "-1/hour"])
def test_an_invalid_rate_is_refused(rate: str) -> None:
    if rate:
        with pytest.raises(SettingsInvalid, match="BOOMERANG_RATE_LIMIT"):
            Settings.from_env({"BOOMERANG_RATE_LIMIT": rate})
    else:
        assert Settings.from_env({"BOOMERANG_RATE_LIMIT": rate}).rate_limit == Settings().rate_limit
    assert read_rates(Settings().rate_limit)


def test_capacity_returns_evenly() -> None:
    now = 0.0
    buckets, rate = Buckets(lambda: now), Rate(10, "minute")
    assert [buckets.wait(rate, "shop") for _ in range(11)] == pytest.approx([0.0] * 10 + [6.0])
    # With count=False nothing is counted
    assert buckets.wait(rate, "press", count=False) == buckets.wait(rate, "press", count=False) == 0
    now = 5.0
    assert buckets.wait(rate, "shop") == pytest.approx(1.0)
    now = 6.0
    assert [buckets.wait(rate, "shop") for _ in range(2)] == pytest.approx([0.0, 6.0])
    now = 3600.0
    assert [buckets.wait(rate, "shop") for _ in range(11)] == pytest.approx([0.0] * 10 + [6.0])


GUESSER, OTHER = "203.0.113.7", "203.0.113.8"


def guess(client: FlaskClient, address: str, secret: str = "wrong") -> None:
    """Guess keys until the limit refuses with 429."""
    for _ in range(2 * GUESSES.amount):
        answer = ask(client, secret, environ_base={"REMOTE_ADDR": address})
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            return
        assert answer.status_code == 401
    pytest.fail("guessing was not limited")


@pytest.mark.parametrize("secret", ["wrong", f"bmr_{'0' * 12}_{'A' * 43}"])
def test_only_invalid_keys_are_refused_at_a_guessers_address(store: Store, secret: str) -> None:
    # Given a process that has just started, so that it has seen no valid key yet
    client = app_of(store, "off")
    _, stored = KeyRing(store.context.client, store.context.keys).add("press", PRODUCER)
    guess(client, GUESSER, secret)
    # Then every producer at the same address is served, while guesses are refused in between
    for number in range(90):
        valid = ("one", "two", stored)[number % 3]
        assert ask(client, valid, environ_base={"REMOTE_ADDR": GUESSER}).status_code == 200
        assert ask(client, secret, environ_base={"REMOTE_ADDR": GUESSER}).status_code in (401, 429)
    assert ask(client, "wrong", environ_base={"REMOTE_ADDR": OTHER}).status_code == 401


def test_valid_keys_are_not_counted_as_guesses(store: Store) -> None:
    client = app_of(store, "off")
    assert {ask(client, "one").status_code for _ in range(3 * GUESSES.amount)} == {200}


def refusals(limits: RateLimits, address: str) -> int:
    """Count an invalid key from an address. Returns 1 if it is refused with 429."""
    try:
        limits.refused(ip_address(address))
    except ProblemError as problem:
        return int(problem.status == 429)
    return 0


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        pytest.param("203.0.113.7", GUESSES.amount, id="one address"),
        pytest.param("2001:db8::{:x}", GUESSES.amount, id="a /64"),
        pytest.param("2001:db8:0:{:x}::1", GUESSES_OF_SITE.amount, id="a /48"),
        pytest.param("2001:db8:{:x}::1", 2_000, id="many /48"),
    ],
)
def test_guesses_count_by_address_and_network(address: str, allowed: int) -> None:
    limits = RateLimits([], lambda: 0.0)
    refused = [refusals(limits, address.format(number)) for number in range(2_000)]
    assert refused == [0] * allowed + [1] * (2_000 - allowed)


def test_a_guess_without_a_known_address_is_counted() -> None:
    limits = RateLimits([], lambda: 0.0)
    for _ in range(GUESSES.amount):
        limits.refused(None)
    with pytest.raises(ProblemError):
        limits.refused(None)


def test_a_refused_guess_does_not_extend_the_wait() -> None:
    now = 0.0
    limits = RateLimits([], lambda: now)
    assert sum(refusals(limits, GUESSER) for _ in range(1_000)) == 1_000 - GUESSES.amount
    now = 60.0 / GUESSES.amount
    assert [refusals(limits, GUESSER) for _ in range(2)] == [0, 1]


@pytest.mark.slow
def test_the_memory_of_the_limiter_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.access.rate_limits._MOST", 500)
    limits = RateLimits([], lambda: 0.0)
    tracemalloc.start()
    for number in range(2_000):
        refusals(limits, str(ip_address((0x2001_0DB8 << 96) + (number << 80))))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 500_000
