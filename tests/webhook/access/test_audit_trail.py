"""Each requested change leaves an entry of the audit trail, and no plain enqueue does."""

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.audit_trail import Action, AuditEntry, Via
from jobs.connections.client import connect
from jobs.errors import StoreUnavailable
from jobs.key_limits import KeyLimits
from jobs.owners import ANYONE
from jobs.store.store import Store
from tests.support.browser import log_in, token_of
from webhook.access.audit_log import NOT_IN_TRAIL
from webhook.access.scopes import PUBLIC, is_page
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model": "kirin_image_omni", "prompt": "a fox"}\n'
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Changes that this test makes in another way, or not at all: those without a caller, those that end the session, and
#: forms that change nothing until they name a start.
APART = PUBLIC | {"pages.leave", "pages.check_new_batch", "pages.check_corrections"}


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    wanted = replace(
        settings, api_keys=("shop:one", "press:two"), admin_keys=("boss:three",), session_secret="a-secret-for-a-test"
    )
    return create_app(wanted, store, lambda *_: True)


@pytest.fixture
def clients(app: Flask) -> dict[str, FlaskClient]:
    found = {}
    for name, secret in (("shop", "one"), ("press", "two"), ("boss", "three")):
        found[name] = app.test_client()
        found[name].environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return found


@pytest.fixture
def shop(clients: dict[str, FlaskClient]) -> FlaskClient:
    return clients["shop"]


def entries(store: Store, owner: str | None = None) -> list[AuditEntry]:
    return list(store.audit_trail.page(owner, limit=500).entries)


def last(store: Store) -> Action:
    action = entries(store)[0].action
    assert action is not None
    return action


def changes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Yield endpoint, method and an address of each route that changes something."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) & CHANGES:
            yield rule.endpoint, method, re.sub("<.+?>", "nothing", rule.rule)


def test_every_route_that_changes_something_leaves_an_entry(
    app: Flask, store: Store, clients: dict[str, FlaskClient]
) -> None:
    """A new route does, too, unless it is in NOT_IN_TRAIL with a reason. Refused calls are recorded as well."""
    person = app.test_client()
    log_in(person, "three")
    token = token_of(person.get("/"))
    seen = len(entries(store))
    walked = 0
    for endpoint, method, address in changes(app):
        if endpoint in APART:
            continue
        if is_page(endpoint):
            answer = person.open(address, method=method, data={"csrf_token": token})
        else:
            answer = clients["boss"].open(address, method=method)
        found = entries(store)
        if endpoint in NOT_IN_TRAIL:
            assert len(found) == seen, endpoint
            continue
        walked += 1
        seen += 1
        assert len(found) == seen, endpoint
        action = last(store)
        assert (action.operation, action.status, action.owner) == (endpoint, answer.status_code, ANYONE)
        assert action.via is (Via.PAGE if is_page(endpoint) else Via.API)
        assert action.request == answer.headers["X-Request-Id"]
    assert walked >= 40
    assert {endpoint for endpoint, *_ in changes(app)} >= NOT_IN_TRAIL


def test_enqueueing_costs_nothing_and_leaves_nothing(
    shop: FlaskClient, store: Store, raw: redis.Redis, fox: dict[str, Any]
) -> None:
    for number in range(3):
        assert shop.post("/v1/jobs", json=fox | {"external_task_id": f"fox-{number}"}).status_code == 201
        assert shop.post("/v1/quote", data=LINE).status_code == 200
        shop.post("/v1/images", data=b"no image")
    assert entries(store) == []
    assert "cmdstat_xtrim" not in raw.info("commandstats") or not raw.exists("{b}:trails")


def test_a_batch_is_recorded_once(shop: FlaskClient, store: Store) -> None:
    shop.post("/v1/batches?id=b&dry_run=true", data=LINE)
    assert entries(store) == []
    for _ in range(3):
        assert shop.post("/v1/batches?id=b", data=LINE * 2).status_code == 201
    (entry,) = entries(store)
    assert entry.action is not None
    assert entry.action.details == {"batch_id": "b@shop", "accepted": "2", "known": "0", "rejected": "0"}
    shop.post("/v1/batches/b/retry?dry_run=true")
    assert len(entries(store)) == 1
    shop.post("/v1/batches/b/cancel")
    assert last(store).details == {"batch_id": "b@shop", "affected": "2", "pending": "0"}


def test_a_batch_that_is_cut_off_is_recorded(settings: Settings, store: Store) -> None:
    """The rest of it, sent later, is no new batch."""
    limits = {"shop": KeyLimits(max_unfinished=2)}
    limited = replace(settings, api_keys=("shop:one",), key_limits=limits)
    client = create_app(limited, Store(store.context.client, limited), lambda *_: True).test_client()
    for _ in range(2):
        answer = client.post("/v1/batches?id=b", data=LINE * 5, headers={"Authorization": "Bearer one"})
        assert answer.status_code == 429
    (entry,) = entries(store)
    assert entry.action is not None
    assert (entry.action.status, entry.action.details["accepted"]) == (429, "2")


def test_a_dry_run_of_a_bulk_action_is_not_recorded(shop: FlaskClient, store: Store) -> None:
    wanted = {"action": "cancel", "filter": {"status": ["queued"]}}
    assert shop.post("/v1/bulk", json=wanted | {"dry_run": True}).status_code < 300
    assert entries(store) == []
    assert shop.post("/v1/bulk", json=wanted).status_code < 300
    assert last(store).operation == "bulk.begin"


def test_the_login_and_the_logout_are_recorded_and_a_refused_one_is_not(app: Flask, store: Store) -> None:
    person = app.test_client()
    assert log_in(person, "wrong").status_code == 401
    assert entries(store) == []
    log_in(person, "one")
    action = last(store)
    assert (action.operation, action.owner, action.by, action.details) == (
        "pages.enter",
        "shop",
        "shop",
        {"login": "begun"},
    )
    assert action.key.startswith("env-")
    person.post("/logout", data={"csrf_token": token_of(person.get("/"))})
    assert last(store).operation == "pages.leave"


def test_what_a_page_refuses_is_recorded_as_not_done(app: Flask, store: Store, shop: FlaskClient) -> None:
    shop.post("/v1/batches?id=b", data=LINE)
    person = app.test_client()
    log_in(person, "one")
    answer = person.post("/batches/b/retry", data={"csrf_token": token_of(person.get("/"))})
    assert answer.status_code == 303
    assert last(store).details["done"] == "no"


def test_an_administrators_change_is_not_in_a_producers_trail(clients: dict[str, FlaskClient], store: Store) -> None:
    clients["shop"].post("/v1/batches?id=b", data=LINE)
    clients["boss"].post("/v1/batches/b@shop/cancel")
    assert [each.operation for each in entries(store, "shop")] == ["batches.create"]
    assert [each.operation for each in entries(store, ANYONE)] == ["batch_actions.cancel"]


def test_strangers_and_callers_over_the_rate_leave_nothing(settings: Settings, store: Store) -> None:
    rated = create_app(replace(settings, rate_limit="1/day", api_keys=("shop:one",)), store).test_client()
    rated.post("/v1/jobs/x/cancel", headers={"Authorization": "Bearer wrong"})
    rated.post("/v1/jobs/x/cancel")
    assert entries(store) == []
    for _ in range(3):
        rated.post("/v1/jobs/x/cancel", headers={"Authorization": "Bearer one"})
    assert [each.action.status for each in entries(store) if each.action] == [404]


def test_no_entry_contains_a_secret(shop: FlaskClient, store: Store, raw: redis.Redis) -> None:
    shop.post("/v1/jobs/a%0a key=boss/cancel?token=query-secret", data="body-secret")
    shop.post("/v1/batches/b/pause", headers={"Authorization": "Bearer one"}, json={"key": "body-secret"})
    assert len(entries(store)) == 2
    assert "secret" not in str(raw.xrange("{b}:at:shop"))


def test_no_error_of_the_trail_fails_the_action(
    store: Store,
    shop: FlaskClient,
    fox: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    shop.post("/v1/jobs", json=fox | {"external_task_id": "fox"})
    for error in (StoreUnavailable("away"), ValueError("a bug"), redis.ResponseError("NOSPACE")):

        def broken(_: Action, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(store.audit_trail, "record", broken)
        caplog.clear()
        answer = shop.post("/v1/jobs/fox/pause")
        assert answer.status_code == 200
        lines = [each.getMessage() for each in caplog.records]
        assert any(answer.headers["X-Request-Id"] in each and "operation=jobs.pause" in each for each in lines)
        assert [each.levelname for each in caplog.records if each.name == "webhook.access.audit_log"] == ["WARNING"]


def test_with_redis_away_there_is_the_line_only(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    away = Store(connect("redis://127.0.0.1:1/0"), settings)
    client = create_app(replace(settings, api_keys=("shop:one",)), away, lambda *_: True).test_client()
    asked: list[Action] = []
    monkeypatch.setattr(away.audit_trail, "record", asked.append)
    answer = client.post("/v1/jobs/fox/cancel", headers={"Authorization": "Bearer one"})
    assert answer.status_code == 503
    assert [each.name for each in caplog.records if each.name == "boomerang.audit"] == ["boomerang.audit"]
    assert asked == []  # it would wait for Redis once more
    assert client.get("/v1/audit-trail", headers={"Authorization": "Bearer one"}).status_code == 503


@pytest.mark.parametrize("form", [{}, {"do": "check"}, {"do": "start"}])
def test_a_form_that_only_checks_is_not_recorded(form: dict[str, str], app: Flask, store: Store) -> None:
    person = app.test_client()
    log_in(person, "one")
    data = {"csrf_token": token_of(person.get("/")), **form}
    person.post("/files/new-batch/check", data=data)
    started = form.get("do") == "start"
    assert (last(store).operation == "pages.check_new_batch") is started
