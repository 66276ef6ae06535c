import json
import logging

import pytest
from click.testing import CliRunner, Result

from jobs.api_keys import KeyRing
from jobs.store.store import Store
from ops.cli import main


@pytest.fixture
def ring(store: Store) -> KeyRing:
    return KeyRing(store.context.client, store.context.keys)


def run(redis_url: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["keys", *words], env={"BOOMERANG_REDIS_URL": redis_url, "COLUMNS": "200"})


def test_a_key_is_made_listed_and_revoked(redis_url: str, ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "boomerang.audit")
    made = run(redis_url, "add", "shop", "--scope", "read", "--scope", "enqueue", "--days", "90")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    (key,) = ring.all()
    assert (key.name, sorted(key.scopes)) == ("shop", ["enqueue", "read"])
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days == 90
    assert secret.startswith(f"bmr_{key.id}_")
    # Not by its last "_": base64url has that letter too, and what follows it can be short enough to stand anywhere.
    hidden = secret.removeprefix(f"bmr_{key.id}_")

    listed = run(redis_url, "list")
    assert key.id in listed.stdout
    assert "valid until" in listed.stdout
    assert hidden not in listed.stdout

    assert run(redis_url, "revoke", key.id).exit_code == 0
    shown = json.loads(run(redis_url, "list", "--json").stdout)
    assert (shown["id"], shown["name"], shown["scopes"]) == (key.id, "shop", ["enqueue", "read"])
    assert shown["revoked_at"]
    assert shown["used_at"] is None

    told = [record.getMessage() for record in caplog.records if record.name == "boomerang.audit"]
    assert [line.partition(" uid=")[0].partition(" state=")[0] for line in told] == [
        f"operation=keys.{what} key={key.id} producer=shop scopes=enqueue,read" for what in ("add", "revoke")
    ]
    assert hidden not in caplog.text


def test_a_producers_key_unless_told_otherwise(redis_url: str, ring: KeyRing) -> None:
    assert run(redis_url, "add", "shop").exit_code == 0
    assert sorted(ring.all()[0].scopes) == ["cancel", "enqueue", "read"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "Shop"), "a name has"),
        (("add", "celery"), "another door"),
        (("add", "shop", "--scope", "all"), "--scope"),
        (("add", "shop", "--days", "0"), "--days"),
        (("revoke", "nobody"), "no key 'nobody'"),
        (("revoke",), "ID"),
    ],
)
def test_what_cannot_be_is_said(words: tuple[str, ...], told: str, redis_url: str, ring: KeyRing) -> None:
    said = run(redis_url, *words)
    assert said.exit_code != 0
    assert told in said.stderr
    assert ring.all() == []


def test_a_store_that_is_away_is_said() -> None:
    said = run("redis://127.0.0.1:1/0", "list")
    assert said.exit_code == 2
    assert "BOOMERANG_REDIS_URL" in said.stderr
