import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import PRODUCER, KeyRing, Scope
from jobs.connections.client import connect
from jobs.errors import StoreUnavailable
from jobs.store.store import Store
from tests.support.waiting import WaitFor
from webhook.access.api_keys import FRESH, Caller, Key, KnownKeys
from webhook.access.auth import Authenticator, caller
from webhook.access.rate_limits import RateLimits
from webhook.access.scopes import PUBLIC, is_page, or_scope_of, scope_of
from webhook.app import create_app
from webhook.http.problems import ProblemError
from webhook.settings import Settings

PRODUCERS = ("/v1", "/model/v1")


def test_every_producers_call_requires_a_key(app: Flask) -> None:
    anyone = app.test_client()
    checked = 0
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(PRODUCERS):
            continue
        path = re.sub("<.+?>", "x", rule.rule)
        for method in rule.methods or ():
            answer = anyone.open(path, method=method)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            checked += 1
    assert checked > 15


def test_only_the_listed_endpoints_are_public(app: Flask) -> None:
    others = {rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith(PRODUCERS)}
    assert {endpoint for endpoint in others if endpoint in PUBLIC or not is_page(endpoint)} == PUBLIC


def test_a_new_view_is_protected_by_default(settings: Settings, store: Store) -> None:
    app = create_app(settings, store)
    app.add_url_rule("/dashboard", "dashboard", lambda: "secrets")
    assert app.test_client().get("/dashboard").status_code == 401


def test_unknown_v1_addresses_get_401_without_a_key(app: Flask, client: FlaskClient) -> None:
    assert app.test_client().get("/v1/nothing").status_code == 401
    assert app.test_client().delete("/v1/jobs").status_code == 401
    assert app.test_client().get("/model/v1/nothing").status_code == 401
    assert app.test_client().get("/nothing").status_code == 404
    assert client.delete("/v1/jobs").status_code == 405


def no_ring() -> Any:
    raise AssertionError("only text in the form of a generated key is looked up")


def known(*texts: str) -> KnownKeys:
    return KnownKeys([Key.parse(text) for text in texts], no_ring)


@pytest.fixture
def of_header(app: Flask) -> Iterator[Callable[[KnownKeys, str | None], Caller]]:
    with app.test_request_context("/v1/jobs"):
        yield lambda keys, header: Authenticator(keys, no_ring, RateLimits([])).of_header(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic b25l",
        "one",
        "Bearer on",
        "Bearer onee",
        "Bearer one two",
        "Bearer \xe9\xff",
        "Bearer bmr_0123456789ab_short",
    ],
)
def test_an_invalid_key_is_refused(header: str | None, of_header: Callable[[KnownKeys, str | None], Caller]) -> None:
    with pytest.raises(ProblemError) as caught:
        of_header(known("one", "two"), header)
    assert caught.value.status == 401
    assert caught.value.detail


@pytest.mark.parametrize("header", ["Bearer one", "Bearer two", "bearer one", "Bearer  two "])
def test_every_configured_key_is_accepted(header: str, of_header: Callable[[KnownKeys, str | None], Caller]) -> None:
    assert of_header(known("one", "two"), header).scopes == PRODUCER


HASH = hashlib.sha256(b"five").hexdigest()
KEYS = ("shop:one", "shop:two:2", "press:three", "four", f"print:sha256:{HASH}")


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ("one", "shop"),
        ("two:2", "shop"),
        ("three", "press"),
        # The first digits of the secret's SHA-256: a constant name that does not reveal the secret
        ("four", "key-04efaf08"),
        ("five", "print"),
    ],
)
def test_a_key_has_a_name_that_views_know(
    secret: str, name: str, store: Store, of_header: Callable[[KnownKeys, str | None], Caller]
) -> None:
    app = create_app(Settings(api_keys=KEYS, admin_keys=("boss:b",)), store)
    app.add_url_rule("/me", "me", lambda: caller().name)
    # A view without a scope requires an administrator's key
    assert app.test_client().get("/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 403
    assert app.test_client().get("/me", headers={"Authorization": "Bearer b"}).text == "boss"
    assert of_header(known(*KEYS), f"Bearer {secret}").name == name


@pytest.mark.parametrize(
    "given", ["shop:one", "shop", "two", "key-04efaf08", "press:four", HASH, f"sha256:{HASH}", f"print:sha256:{HASH}"]
)
def test_neither_a_name_nor_a_hash_is_a_secret(
    given: str, of_header: Callable[[KnownKeys, str | None], Caller]
) -> None:
    with pytest.raises(ProblemError):
        of_header(known(*KEYS), f"Bearer {given}")


def test_public_endpoints_have_no_caller(settings: Settings, store: Store) -> None:
    with create_app(settings, store).test_request_context("/healthz"):
        assert caller() == Caller()
        assert not caller().sees("")


def test_all_keys_of_the_environment_are_compared_whichever_matches(
    monkeypatch: pytest.MonkeyPatch, of_header: Callable[[KnownKeys, str | None], Caller]
) -> None:
    compared: list[bytes] = []

    def comparing(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return given == known

    monkeypatch.setattr("webhook.access.api_keys.hmac.compare_digest", comparing)
    of_header(known("one", "two", "three"), "Bearer one")
    assert len(compared) == 3


def test_each_call_names_its_scope(app: Flask) -> None:
    """List every protected call, so that a new call must be added here with its scope."""
    enqueue = {"jobs.create", "batches.create", "images.create", "images.show", "generation.submit"}
    enqueue |= {"deliveries.enable", "deliveries.replay", "deliveries.replay_page"}
    enqueue |= {f"{kind}.{verb}" for kind in ("jobs", "batch_actions") for verb in ("resume", "retry")}
    enqueue |= {"batch_actions.approve", "batches.quote", "jobs.regenerate"}
    change = {f"{kind}.{verb}" for kind in ("jobs", "batch_actions") for verb in ("cancel", "pause")}
    read = {"jobs.page", "jobs.show", "batches.page", "batches.show", "batch_results.results", "batch_results.errors"}
    read |= {"batch_events.events", "lanes.lanes", "outputs.fetch", "spend.spend", "generation.show"}
    read |= {"deliveries.page", "deliveries.of_job", "deliveries.of_batch", "deliveries.receivers"}
    read |= {"batch_images.images", "history.history", "audit_trail.page"}
    enqueue |= {"reviews.put", "jobs.regenerate"}
    # With `cancel`, the views of bulk actions check the scope of the action.
    enqueue |= {"bulk.begin", "bulk.abort"}
    read |= {"bulk.page", "bulk.show"}
    admin = {"limits.change_lane", "limits.show_key_limits", "limits.change_key_limits"}
    wanted = {Scope.ENQUEUE: enqueue, Scope.CANCEL: change, Scope.READ: read, Scope.ADMIN: admin}
    found: dict[Scope, set[str]] = {}
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in PUBLIC and not is_page(rule.endpoint):
            found.setdefault(scope_of(app, rule.endpoint), set()).add(rule.endpoint)
    assert found == wanted


@pytest.fixture
def ring(store: Store) -> KeyRing:
    return KeyRing(store.context.client, store.context.keys)


@pytest.fixture
def as_key(store: Store) -> Callable[[str], FlaskClient]:
    """Return `as_key(secret)`, which makes a client with this key of a new app without cached keys."""

    def made(secret: str) -> FlaskClient:
        client = create_app(Settings(), store, lambda *_: True).test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    return made


@pytest.mark.parametrize("scope", [Scope.ENQUEUE, Scope.READ, Scope.CANCEL])
def test_a_key_is_limited_to_its_scope_and_learns_the_missing_one(
    scope: Scope, app: Flask, ring: KeyRing, as_key: Callable[[str], FlaskClient]
) -> None:
    _, secret = ring.add("shop", [scope])
    producer = as_key(secret)
    for rule in app.url_map.iter_rules():
        if rule.endpoint in PUBLIC or is_page(rule.endpoint):
            continue
        (method,) = (rule.methods or set()) & {"GET", "POST", "PUT", "PATCH"}
        answer = producer.open(re.sub("<.+?>", "x", rule.rule), method=method)
        others, parameter = or_scope_of(app, rule.endpoint)
        lacks = scope not in (scope_of(app, rule.endpoint), *(() if parameter else others))
        assert (answer.status_code == 403) == lacks, rule
        if lacks and not rule.rule.startswith("/model"):
            assert answer.json["scope"] == scope_of(app, rule.endpoint)


def test_an_administrators_key_does_everything(ring: KeyRing, as_key: Callable[[str], FlaskClient]) -> None:
    _, secret = ring.add("boss", [Scope.ADMIN])
    assert as_key(secret).get("/v1/lanes").status_code == 200
    assert as_key(secret).post("/v1/jobs/x/cancel").status_code == 404


@pytest.mark.parametrize("change", ["other id", "other secret", "no such id", "half"])
def test_an_almost_correct_key_is_refused(change: str, ring: KeyRing, as_key: Callable[[str], FlaskClient]) -> None:
    (key, secret), (other, _) = ring.add("shop", PRODUCER), ring.add("press", PRODUCER)
    wrong = {
        "other id": secret.replace(key.id, other.id),
        "other secret": secret[:-2] + ("AA" if not secret.endswith("AA") else "BB"),
        "no such id": secret.replace(key.id, "0" * 12),
        "half": secret[: len(secret) // 2],
    }[change]
    assert as_key(secret).get("/v1/lanes").status_code == 200
    assert as_key(wrong).get("/v1/lanes").status_code == 401


def is_refused(client: FlaskClient) -> bool:
    return client.get("/v1/lanes").status_code == 401


def test_a_revoked_key_is_refused_by_every_process(
    ring: KeyRing, as_key: Callable[[str], FlaskClient], wait_for: WaitFor
) -> None:
    key, secret = ring.add("shop", PRODUCER)
    processes = [as_key(secret), as_key(secret)]
    assert [each.get("/v1/lanes").status_code for each in processes] == [200, 200]
    ring.revoke(key.id)
    for each in processes:
        wait_for(partial(is_refused, each))
    assert as_key(secret).get("/v1/lanes").status_code == 401


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class CountingRing(KeyRing):
    """A key ring that counts its reads and recorded uses."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.found, self.noted = 0, 0

    def find(self, key_id: str) -> Any:
        self.found += 1
        return super().find(key_id)

    def note_use(self, key_id: str, now: datetime) -> None:
        self.noted += 1
        super().note_use(key_id, now)


def test_a_key_is_cached_and_its_use_is_recorded_rarely(store: Store) -> None:
    ring, clock = CountingRing(store.context.client, store.context.keys), Clock()
    keys = KnownKeys((), lambda: ring, clock)
    key, secret = ring.add("shop", PRODUCER)
    assert ring.all()[0].used_at is None
    for seconds in (0.0, FRESH / 2, FRESH, FRESH * 1.5, 61.0):
        clock.now = seconds
        assert keys.of_secret(secret) == Caller(key.id, "shop", PRODUCER)
    assert (ring.found, ring.noted) == (3, 2)
    assert ring.all()[0].used_at is not None


def test_an_expired_key_is_refused(ring: KeyRing, as_key: Callable[[str], FlaskClient]) -> None:
    now = datetime.now(UTC)
    _, old = ring.add("shop", PRODUCER, now=now - timedelta(days=2), lasts=timedelta(days=1))
    _, good = ring.add("shop", PRODUCER, now=now - timedelta(days=2), lasts=timedelta(days=3))
    assert as_key(old).get("/v1/lanes").status_code == 401
    assert as_key(good).get("/v1/lanes").status_code == 200


def test_without_the_store_a_stored_key_raises_store_unavailable() -> None:
    unreachable = Store(connect("redis://127.0.0.1:1/0"), Settings())
    keys = KnownKeys([Key.parse("shop:one")], lambda: KeyRing(unreachable.context.client, unreachable.context.keys))
    assert keys.of_secret("one") == Key.parse("shop:one").caller
    with pytest.raises(StoreUnavailable):
        keys.of_secret(f"bmr_{'0' * 12}_{'a' * 43}")
