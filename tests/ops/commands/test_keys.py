import json
import logging

import pytest
from click.testing import CliRunner, Result

from jobs.api_keys import KeyRing, Scope
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from ops.cli import main


@pytest.fixture
def key_ring(store: Store) -> KeyRing:
    return KeyRing(store.context.client, store.context.keys)


def run(redis_url: str, *args: str) -> Result:
    return CliRunner().invoke(main, ["keys", *args], env={"BOOMERANG_REDIS_URL": redis_url, "COLUMNS": "200"})


def test_a_key_is_made_listed_and_revoked(redis_url: str, key_ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "boomerang.audit")
    made = run(redis_url, "add", "shop", "--scope", "read", "--scope", "enqueue", "--days", "90")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    (key,) = key_ring.all()
    assert (key.name, sorted(key.scopes)) == ("shop", ["enqueue", "read"])
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days == 90
    assert secret.startswith(f"bmr_{key.id}_")
    # Do not split at the last "_": base64url has that letter too, and the rest could match by chance.
    hidden = secret.removeprefix(f"bmr_{key.id}_")

    listed = run(redis_url, "list")
    assert key.id in listed.stdout
    assert "valid until" in listed.stdout
    assert hidden not in listed.stdout

    assert run(redis_url, "revoke", key.id).exit_code == 0
    as_json = json.loads(run(redis_url, "list", "--json").stdout)
    assert (as_json["id"], as_json["name"], as_json["scopes"]) == (key.id, "shop", ["enqueue", "read"])
    assert as_json["revoked_at"]
    assert as_json["used_at"] is None

    messages = [record.getMessage() for record in caplog.records if record.name == "boomerang.audit"]
    assert [line.partition(" uid=")[0].partition(" state=")[0] for line in messages] == [
        f"operation=keys.{what} key={key.id} producer=shop scopes=enqueue,read" for what in ("add", "revoke")
    ]
    assert hidden not in caplog.text


def test_keys_of_the_version_before_are_copied_and_then_removed(
    redis_url: str, key_ring: KeyRing, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "boomerang.audit")
    client, keys = store.context.client, store.context.keys
    key, _ = KeyRing(client, Keys("{other}:")).add("boss", [Scope.ADMIN])
    client.hset(keys.singleton("access"), key.id, key.to_json())
    # `keys add` copies it without the scope, and says so
    assert "copied" in run(redis_url, "add", "shop").stderr
    assert f"operation=keys.migrate key={key.id} producer=boss scopes= " in caplog.text
    shop = key_ring.all()[1]
    assert run(redis_url, "migrate").exit_code == 0
    assert key_ring.find(key.id) == key
    assert f"operation=keys.migrate key={key.id} producer=boss scopes=admin" in caplog.text
    assert client.exists(keys.singleton("access"))
    assert run(redis_url, "migrate", "--remove").exit_code == 0
    assert not client.exists(keys.singleton("access"))
    assert key_ring.all() == [key, shop]


def test_a_new_key_is_a_producers_key_by_default(redis_url: str, key_ring: KeyRing) -> None:
    assert run(redis_url, "add", "shop").exit_code == 0
    assert sorted(key_ring.all()[0].scopes) == ["cancel", "enqueue", "read"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("add", "Shop"), "NAME"),
        (("add", "celery"), "celery"),
        (("add", "shop", "--scope", "all"), "--scope"),
        (("add", "shop", "--days", "0"), "--days"),
        (("revoke", "missing"), "no key 'missing'"),
        (("revoke",), "ID"),
    ],
)
def test_invalid_options_are_errors(args: tuple[str, ...], expected: str, redis_url: str, key_ring: KeyRing) -> None:
    result = run(redis_url, *args)
    assert result.exit_code != 0
    assert expected in result.stderr
    assert key_ring.all() == []


def test_an_unreachable_store_is_reported() -> None:
    result = run("redis://127.0.0.1:1/0", "list")
    assert result.exit_code == 2
    assert "BOOMERANG_REDIS_URL" in result.stderr
