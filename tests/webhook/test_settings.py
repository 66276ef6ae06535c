import hashlib
import secrets
from ipaddress import ip_network

import pytest

from jobs.errors import SettingsInvalid
from jobs.secret_strength import weakness
from webhook.settings import CALLBACK_LIMIT, JOB_LIMIT, Settings

ONE, TWO, THREE, LAST = (f"the-secret-number-{number}" for number in range(4))
CANARY = "canary-secret-of-a-producer"


def test_the_defaults_make_a_local_stack_work() -> None:
    settings = Settings.from_env({})
    assert (settings.api_keys, settings.max_callback, settings.max_body) == ((), CALLBACK_LIMIT, JOB_LIMIT)
    assert settings.broker_url == settings.redis_url


def test_keys_are_separated_by_commas() -> None:
    assert Settings.from_env({"BOOMERANG_API_KEYS": f" {ONE}, {TWO},,"}).api_keys == (ONE, TWO)
    named = f"shop:{ONE},shop:{TWO},a-b_9:x:y:{THREE},{LAST}"
    assert Settings.from_env({"BOOMERANG_API_KEYS": named}).api_keys == tuple(named.split(","))


@pytest.mark.parametrize(
    ("keys", "problem_text"),
    [
        pytest.param(
            f"shop:{CANARY},press:{CANARY}", "key 2: another key has the same secret", id="one secret, two names"
        ),
        pytest.param(f"{CANARY},{CANARY}", "key 2: another key has the same secret", id="the same twice"),
        pytest.param(f"{ONE},Shop:{CANARY}", "key 2: a name", id="capitals"),
        pytest.param(f"-shop:{CANARY}", "key 1: a name", id="begins with a dash"),
        pytest.param(f":{CANARY}", "key 1: a name", id="no name"),
        pytest.param("x" * 33 + f":{CANARY}", "key 1: a name", id="a long name"),
        pytest.param(f"{ONE},shop:canary-short", "key 2: is a secret of 12 characters", id="short"),
        pytest.param("canary-short", "key 1: is a secret of 12 characters", id="short, without a name"),
        pytest.param("shop:" + "ab" * 16, "key 1: is a secret that repeats", id="few characters"),
        pytest.param("shop:", "key 1: each secret", id="no secret"),
        pytest.param("shop:canary é", "key 1: each secret", id="not to be sent"),
        pytest.param("sha256:" + "a" * 64, "key 1: a hash needs a name", id="a hash without a name"),
        pytest.param(f"celery:{CANARY}", "key 1: celery", id="the name of another entry point"),
    ],
)
def test_an_invalid_key_is_named_by_number_and_not_shown(keys: str, problem_text: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_env({"BOOMERANG_API_KEYS": keys})
    (problem,) = caught.value.problems
    assert problem.startswith(f"BOOMERANG_API_KEYS: {problem_text}")
    assert "canary" not in str(caught.value)


def test_administrators_keys_are_separate_from_producers() -> None:
    settings = Settings.from_env({"BOOMERANG_API_KEYS": f"shop:{ONE}", "BOOMERANG_ADMIN_KEYS": f"boss:{TWO}"})
    assert [(key.name, sorted(key.scopes)) for key in settings.keys] == [
        ("shop", ["cancel", "enqueue", "read"]),
        ("boss", ["admin"]),
    ]
    hashed = hashlib.sha256(CANARY.encode()).hexdigest()
    with pytest.raises(SettingsInvalid, match=r"BOOMERANG_ADMIN_KEYS: .* BOOMERANG_API_KEYS") as caught:
        Settings.from_env({"BOOMERANG_API_KEYS": f"shop:sha256:{hashed}", "BOOMERANG_ADMIN_KEYS": f"boss:{CANARY}"})
    assert "canary" not in str(caught.value)


def test_all_invalid_keys_are_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"key 1: .*key 3: "):
        Settings.from_env({"BOOMERANG_API_KEYS": f"A:{ONE},b:{TWO},C:{THREE}"})


def test_all_invalid_variables_are_named_without_secrets() -> None:
    env = {
        "BOOMERANG_API_KEYS": f"{ONE},with space",
        "BOOMERANG_MAX_BODY": "much",
        "BOOMERANG_MAX_CALLBACK": "12",
        "BOOMERANG_REDIS_URL": "http://user:pass@elsewhere",
    }
    with pytest.raises(SettingsInvalid) as caught:
        Settings.from_env(env)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == sorted(env)
    assert "with space" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_the_repr_contains_no_secret() -> None:
    env = {
        "BOOMERANG_API_KEYS": CANARY,
        "BOOMERANG_CALLBACK_SECRETS": "canary-callback-secret",
        "BOOMERANG_REDIS_URL": "redis://:canary-password@127.0.0.1:6379/0",
    }
    assert "canary" not in repr(Settings.from_env(env))


@pytest.mark.parametrize(
    ("given", "read"), [("0", 0.0), ("0.5", 0.5), ("1", 1.0), ("1048576", 1048576.0), ("3e9", 3e9), ("", 0.85)]
)
def test_memory_is_a_share_or_bytes(given: str, read: float) -> None:
    assert Settings.from_env({"BOOMERANG_MAX_MEMORY": given}).max_memory == read


@pytest.mark.parametrize("given", ["85", "-0.1", "1.01", "2gb", "nan", "inf"])
def test_an_invalid_memory_limit_is_refused(given: str) -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_MAX_MEMORY: "):
        Settings.from_env({"BOOMERANG_MAX_MEMORY": given})


def test_addresses_and_networks_are_accepted() -> None:
    env = {"BOOMERANG_CALLBACK_ADDRESSES": "203.0.113.7, 2001:db8::/32", "BOOMERANG_TRUSTED_PROXIES": "10.0.0.0/8"}
    settings = Settings.from_env(env)
    assert settings.callback_addresses == (ip_network("203.0.113.7/32"), ip_network("2001:db8::/32"))
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize("given", ["example.com", "10.0.0.1/8", "300.1.1.1", "10.0.0.0/33"])
def test_an_invalid_network_is_refused(given: str) -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_CALLBACK_ADDRESSES: must be addresses or networks"):
        Settings.from_env({"BOOMERANG_CALLBACK_ADDRESSES": given})


@pytest.mark.parametrize(
    "variable",
    ["API_KEYS", "ADMIN_KEYS", "CALLBACK_SECRETS", "SESSION_SECRET", "METRICS_TOKEN", "SIGNATURE_SECRETS"],
)
@pytest.mark.parametrize("weak", ["canary", "x", "0" * 64, "abab" * 8, f"{LAST},canary"])
def test_a_secret_that_can_be_guessed_is_refused_with_the_way_to_make_one(variable: str, weak: str) -> None:
    given = weak if variable.endswith("S") else weak.rpartition(",")[2]
    with pytest.raises(SettingsInvalid, match=f"BOOMERANG_{variable}: .*make one with: ") as caught:
        Settings.from_env({f"BOOMERANG_{variable}": given})
    assert "canary" not in str(caught.value)


def test_a_hash_is_accepted_whatever_its_secret_is() -> None:
    hashed = hashlib.sha256(b"short").hexdigest()
    assert Settings.from_env({"BOOMERANG_API_KEYS": f"shop:sha256:{hashed}"}).keys[0].name == "shop"


@pytest.mark.parametrize("size", [8, 12, 16, 24, 32])
def test_random_secrets_are_accepted(size: int) -> None:
    for _ in range(500):
        assert weakness(secrets.token_hex(size)) is None
        assert size < 12 or weakness(secrets.token_urlsafe(size)) is None


def test_a_public_url_requires_callback_secrets() -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_CALLBACK_SECRETS: must be set where BOOMERANG_PUBLIC_URL is"):
        Settings.from_env({"BOOMERANG_PUBLIC_URL": "https://boomerang.example.com"})
