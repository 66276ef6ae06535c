import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import redis

from jobs.api_keys import MIGRATED, PRODUCER, AccessKey, KeyRing, Scope, parsed
from jobs.errors import AccessRefused, KeyNotFound
from jobs.store.redis_keys import Keys
from ops.local import redis_server as redis_servers
from tests.support.bench import Bench

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def ring(bench: Bench) -> KeyRing:
    return KeyRing(bench.store.context.client, bench.store.context.keys)


def test_a_key_is_stored_without_its_secret(ring: KeyRing, bench: Bench) -> None:
    key, text = ring.add("shop", PRODUCER, now=NOW)
    found = parsed(text)
    assert found is not None
    assert found[0] == key.id
    stored = bench.raw.hgetall("{b}keys:access")
    assert set(stored) == {MIGRATED, key.id}
    assert found[1] not in str(stored)
    assert json.loads(stored[key.id])["scopes"] == ["cancel", "enqueue", "read"]
    assert ring.find(key.id) == key
    assert key.digest not in repr(key)


def test_secrets_are_long_and_unique(ring: KeyRing) -> None:
    made = {ring.add("shop", PRODUCER)[1] for _ in range(50)}
    assert len(made) == 50
    # 256 bits take 43 characters of base64.
    assert all(re.fullmatch(r"bmr_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text) for text in made)


def test_a_name_has_several_keys_and_each_is_revoked_alone(ring: KeyRing) -> None:
    (one, _), (two, _) = (ring.add("shop", [Scope.READ], now=NOW + timedelta(seconds=each)) for each in range(2))
    revoked = ring.revoke(one.id, NOW)
    assert revoked.revoked_at == NOW
    assert ring.revoke(one.id, NOW + timedelta(days=1)) == revoked
    assert ring.all() == [revoked, two]
    assert [key.opens(NOW) for key in ring.all()] == [False, True]


def test_a_key_expires(ring: KeyRing) -> None:
    key, _ = ring.add("shop", PRODUCER, now=NOW, lasts=timedelta(days=1))
    assert key.opens(NOW + timedelta(hours=23))
    assert not key.opens(NOW + timedelta(days=1))
    assert AccessKey.from_json(key.id, key.to_json()) == key


def test_a_key_that_was_never_made_is_not_found(ring: KeyRing) -> None:
    assert ring.find("absent") is None
    assert ring.find("migrated") is None
    with pytest.raises(KeyNotFound, match="absent"):
        ring.revoke("absent")


def test_the_time_of_the_last_use_is_stored(ring: KeyRing) -> None:
    key, _ = ring.add("shop", PRODUCER)
    ring.note_use(key.id, NOW)
    assert [each.used_at for each in ring.all()] == [NOW]


def stored_by_the_version_before(bench: Bench, ring: KeyRing, *scopes: Scope) -> AccessKey:
    other = KeyRing(bench.store.context.client, Keys("{other}:"))
    key, _ = other.add("shop", scopes)
    bench.raw.hset("{b}:access", key.id, key.to_json())
    return key


def test_a_key_of_the_version_before_is_valid_but_never_an_administrators(bench: Bench, ring: KeyRing) -> None:
    key = stored_by_the_version_before(bench, ring, Scope.READ, Scope.ADMIN)
    found = ring.find(key.id)
    assert found is not None
    assert (found.scopes, found.digest) == ({Scope.READ}, key.digest)
    assert ring.all() == [key]
    assert ring.migrate(confirmed=True) == [key.id]
    assert ring.find(key.id) == key
    assert ring.migrate() == []


def test_with_the_access_rules_of_the_version_before_its_keys_are_valid(
    bench: Bench, ring: KeyRing, redis_server: redis_servers.RedisServer
) -> None:
    key = stored_by_the_version_before(bench, ring, Scope.READ, Scope.ADMIN)
    assert ring.readable
    bench.raw.acl_setuser("before", enabled=True, nopass=True, keys=["{b}:*"], commands=["+@all"], reset=True)
    with redis.Redis.from_url(redis_server.url, username="before", password="any", decode_responses=True) as client:
        old = KeyRing(client, Keys())
        found = old.find(key.id)
        assert found is not None
        assert (found.scopes, old.find("0" * 12)) == ({Scope.READ}, None)
        assert old.all() == [key]
        assert not old.readable
        with pytest.raises(AccessRefused):
            old.migrate()
    bench.raw.acl_deluser("before")


@pytest.mark.parametrize("first", ["add", "revoke"])
def test_only_a_confirmed_copy_makes_an_administrator(first: str, bench: Bench, ring: KeyRing) -> None:
    key = stored_by_the_version_before(bench, ring, Scope.READ, Scope.ADMIN)
    other = stored_by_the_version_before(bench, ring, Scope.READ)
    ring.add("press", PRODUCER) if first == "add" else ring.revoke(other.id)
    found = ring.find(key.id)
    assert found is not None
    assert found.scopes == {Scope.READ}
    # What is changed in the old place since then has no effect.
    bench.raw.hset("{b}:access", key.id, stored_by_the_version_before(bench, ring, Scope.ADMIN).to_json())
    assert ring.migrate() == []
    assert ring.migrate(confirmed=True) == [key.id]
    assert ring.find(key.id) == key
    assert ring.migrate(confirmed=True) == []


def test_a_damaged_key_of_the_version_before_stops_no_copy(bench: Bench, ring: KeyRing) -> None:
    key = stored_by_the_version_before(bench, ring, Scope.READ)
    for number, text in enumerate(("", "[]", "{}", '{"scopes": 1}', "no json", "3")):
        bench.raw.hset("{b}:access", f"damaged{number}", text)
    ring.migrate()
    ring.migrate(confirmed=True)
    assert ring.all() == [key]


@pytest.mark.parametrize("first", ["add", "revoke", "migrate"])
def test_after_any_change_of_the_keys_those_of_the_version_before_are_ignored(
    first: str, bench: Bench, ring: KeyRing
) -> None:
    known = stored_by_the_version_before(bench, ring, *PRODUCER)
    match first:
        case "add":
            ring.add("press", PRODUCER)
        case "revoke":
            ring.revoke(known.id)
        case _:
            ring.migrate()
    # An attacker in the webhook adds a key, and changes one, where it may write.
    minted = stored_by_the_version_before(bench, ring, Scope.ADMIN)
    bench.raw.hset("{b}:access", known.id, minted.to_json())
    assert ring.find(minted.id) is None
    assert minted.id not in [each.id for each in ring.all()]
    found = ring.find(known.id)
    assert found is not None
    assert (found.scopes, found.digest) == (PRODUCER, known.digest)


def test_webhooks_of_the_version_before_refuse_a_revoked_key(bench: Bench, ring: KeyRing) -> None:
    key = stored_by_the_version_before(bench, ring, *PRODUCER)
    revoked = ring.revoke(key.id, NOW)
    assert AccessKey.from_json(key.id, bench.raw.hget("{b}:access", key.id)) == revoked == ring.find(key.id)
    ring.remove_before()
    assert not bench.raw.exists("{b}:access")
    assert ring.find(key.id) == revoked


@pytest.mark.parametrize("name", ["", "Shop", "-shop", "a" * 33, "a shop", "celery"])
def test_a_bad_name_is_refused(name: str, ring: KeyRing) -> None:
    with pytest.raises(ValueError, match="name"):
        ring.add(name, PRODUCER)
