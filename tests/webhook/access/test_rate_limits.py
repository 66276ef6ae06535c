from ipaddress import ip_address
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.errors import SettingsInvalid
from jobs.store.store import Store
from webhook.access.rate_limits import GUESSES, Buckets, Rate, RateLimits, read_rates
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


GUESSER, NEIGHBOUR, OTHER = "203.0.113.7", "203.0.113.7", "203.0.113.8"


def guess(client: FlaskClient, address: str) -> None:
    """Guess keys until the limit refuses with 429."""
    for _ in range(2 * GUESSES.amount):
        answer = ask(client, "wrong", environ_base={"REMOTE_ADDR": address})
        if answer.status_code == 429:
            assert int(answer.headers["Retry-After"]) >= 1
            return
        assert answer.status_code == 401
    pytest.fail("guessing was not limited")


def test_only_the_guessing_client_is_stopped(store: Store) -> None:
    client = app_of(store, "off")
    # Given a valid client at the guesser's address, as behind a shared proxy
    assert ask(client, "two", environ_base={"REMOTE_ADDR": NEIGHBOUR}).status_code == 200
    guess(client, GUESSER)
    # Then even a correct key that is new at this address is refused
    assert ask(client, "one", environ_base={"REMOTE_ADDR": GUESSER}).status_code == 429
    assert ask(client, "two", environ_base={"REMOTE_ADDR": NEIGHBOUR}).status_code == 200
    assert ask(client, "one", environ_base={"REMOTE_ADDR": OTHER}).status_code == 200


def test_valid_keys_are_not_counted_as_guesses(store: Store) -> None:
    client = app_of(store, "off")
    assert {ask(client, "one").status_code for _ in range(3 * GUESSES.amount)} == {200}


def test_guesses_from_ipv6_count_by_network(store: Store) -> None:
    rates = RateLimits([])
    for number in range(2 * GUESSES.amount):
        rates.refused(ip_address(f"2001:db8::{number:x}"))
    with pytest.raises(ProblemError):
        rates.check_guess(ip_address("2001:db8::ffff"), b"")
    rates.check_guess(ip_address("2001:db8:0:1::1"), b"")
    rates.check_guess(None, b"")
