"""The pages of keys: the list, making and revoking, and limits."""

import logging
import re
from dataclasses import replace
from decimal import Decimal

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.limits import Subject
from jobs.store.store import Store
from tests.support.browser import act, log_in, token_of
from tests.support.hostile_text import HOSTILE
from webhook.app import create_app
from webhook.settings import Settings

LIMITS = {"weight": "1", "priority": "normal", "max_cost_per_day": "", "max_unfinished": "", "max_stored": ""}


@pytest.fixture
def ring(store: Store) -> KeyRing:
    return KeyRing(store.context.client, store.context.keys)


@pytest.fixture
def writer(settings: Settings, store: Store, ring: KeyRing) -> FlaskClient:
    """An administrator at a webhook that may write keys."""
    app = create_app(replace(settings, keys_redis_url=settings.redis_url), store)
    _, secret = ring.add("boss", [Scope.ADMIN])
    browser = app.test_client()
    assert log_in(browser, secret).status_code == 303
    return browser


def test_a_key_is_made_and_its_secret_is_shown_once(
    writer: FlaskClient, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        page = act(writer, "/keys", "/keys", name="press", scope="read", days="30")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    (secret,) = re.findall(r"bmr_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", page.text)
    made = ring.all()[-1]
    assert (made.name, set(made.scopes)) == ("press", {Scope.READ})
    assert made.expires_at is not None
    assert made.id in writer.get("/keys").text
    assert secret not in writer.get("/keys").text
    (line,) = (record.getMessage() for record in caplog.records)
    assert f"operation=pages.make_key name=press scopes=read made={made.id}" in line
    assert secret not in caplog.text
    browser = writer.application.test_client()
    assert log_in(browser, secret).status_code == 303


def test_a_form_that_is_sent_twice_makes_one_key(writer: FlaskClient, ring: KeyRing) -> None:
    page = writer.get("/keys").text
    (new,) = re.findall(r'name="id" value="([0-9a-f]{12})"', page)
    fields = {"csrf_token": token_of(writer.get("/keys")), "name": "press", "scope": "read", "id": new}
    assert new in writer.post("/keys", data=fields).text
    assert writer.post("/keys", data=fields).status_code == 303
    assert "was made already" in writer.get("/keys").text
    assert [key.id for key in ring.all() if key.name == "press"] == [new]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "press", "scope": "admin"},
        {"name": "press", "scope": ["read", "admin"]},
        {"name": "press"},
        {"name": "press", "scope": "everything"},
        {"name": "Press!", "scope": "read"},
        {"name": "celery", "scope": "read"},
        {"name": "", "scope": "read"},
        {"name": "press", "scope": "read", "days": "0"},
        {"name": "press", "scope": "read", "days": "nan"},
        {"name": "press", "scope": "read", "days": "1e300"},
        {"name": HOSTILE, "scope": "read"},
    ],
)
def test_what_is_no_key_is_not_made(fields: dict[str, str], writer: FlaskClient, ring: KeyRing) -> None:
    before = len(ring.all())
    page = act(writer, "/keys", "/keys", **fields)
    assert page.status_code == 422
    assert 'class="wrong"' in page.text
    assert "<script>alert" not in page.text
    assert len(ring.all()) == before


def test_a_key_is_revoked_after_its_risk_was_stated(writer: FlaskClient, ring: KeyRing) -> None:
    key, secret = ring.add("press", [Scope.READ])
    address = f"/keys/{key.id}/revoke"
    assert f'href="{address}"' in writer.get("/keys").text
    assert "cannot be undone" in writer.get(address).text
    assert act(writer, address, address).status_code == 303
    found = ring.find(key.id)
    assert found is not None
    assert found.revoked_at is not None
    assert log_in(writer.application.test_client(), secret).status_code != 303
    assert writer.get("/keys/ffffffffffff/revoke").status_code == 404
    assert writer.get("/keys/migrated/revoke").status_code == 404


def test_a_webhook_that_may_not_write_keys_shows_the_command(admin: FlaskClient, ring: KeyRing) -> None:
    key, _ = ring.add("press", [Scope.READ])
    before = ring.all()
    page = admin.get("/keys")
    assert "boomerang-server keys add" in page.text
    assert key.id in page.text
    assert "shop" in page.text  # of the environment
    assert f"keys revoke {key.id}" in admin.get(f"/keys/{key.id}/revoke").text
    token = token_of(page)
    for address in ("/keys", f"/keys/{key.id}/revoke"):
        form = {"csrf_token": token, "name": "x", "scope": "read"}
        assert admin.post(address, data=form).status_code == 303
        assert "may not write keys" in admin.get("/keys").text
    assert [each.id for each in ring.all()] == [each.id for each in before]
    assert all(each.revoked_at is None for each in ring.all())


def test_producers_see_no_keys(shop: FlaskClient, ring: KeyRing) -> None:
    key, _ = ring.add("press", [Scope.READ])
    assert 'href="/keys"' not in shop.get("/").text
    for address in ("/keys", "/keys/press", f"/keys/{key.id}/revoke"):
        assert shop.get(address).status_code == 403
    for address in ("/keys", f"/keys/{key.id}/revoke", "/keys/shop/limits", "/keys/shop/reset"):
        assert act(shop, "/", address, name="x", scope="read").status_code == 403


def test_limits_are_changed_and_reset(admin: FlaskClient, store: Store) -> None:
    form = {**LIMITS, "max_cost_per_day": "2.5", "callback_hosts": "a.example, *.b.example", "reason": "a trial"}
    answer = act(admin, "/keys/shop", "/keys/shop/limits", **form, expires_in="3600")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/keys/shop")
    overrides = store.context.limits.overrides(Subject.KEY, "shop")
    assert set(overrides) == {"max_cost_per_day", "callback_hosts"}
    assert overrides["max_cost_per_day"].value == Decimal("2.5")
    page = admin.get("/keys/shop").text
    assert "a trial" in page
    assert "*.b.example" in page
    # What the form shows is in force already
    again = {**form, "callback_hosts": "a.example, *.b.example"}
    act(admin, "/keys/shop", "/keys/shop/limits", **again)
    assert "in force already" in admin.get("/keys/shop").text
    act(admin, "/keys/shop", "/keys/shop/reset", limit="max_cost_per_day")
    assert set(store.context.limits.overrides(Subject.KEY, "shop")) == {"callback_hosts"}


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("weight", "0"),
        ("weight", "1.5"),
        ("max_cost_per_day", "NaN"),
        ("max_unfinished", "-1"),
        ("max_stored", "many"),
        ("priority", "urgent"),
        ("callback_hosts", "https://a.example"),
        ("reason", "x" * 201),
        ("expires_in", "-5"),
    ],
)
def test_a_wrong_limit_is_named(limit: str, text: str, admin: FlaskClient, store: Store) -> None:
    answer = act(admin, "/keys/shop", "/keys/shop/limits", **{**LIMITS, "weight": "2", limit: text})
    assert answer.status_code == 422
    assert 'class="wrong"' in answer.text
    assert store.context.limits.overrides(Subject.KEY, "shop") == {}


def test_an_unknown_producer_is_not_found(admin: FlaskClient) -> None:
    assert admin.get("/keys/nobody").status_code == 404
    assert admin.get("/keys/%3Cscript%3E").status_code == 404


def test_text_from_outside_is_text(admin: FlaskClient) -> None:
    form = LIMITS | {"weight": "2", "reason": "<script>alert(1)</script>\u202e"}
    act(admin, "/keys/shop", "/keys/shop/limits", **form)
    page = admin.get("/keys/shop").text
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
