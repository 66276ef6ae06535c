import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.store import Store
from webhook.app import create_app
from webhook.auth import PUBLIC, ApiKeys, caller
from webhook.problems import ProblemError
from webhook.settings import Settings

PRODUCERS = ("/v1", "/model/v1")


def test_every_call_of_producers_needs_a_key(app: Flask) -> None:
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


def test_nothing_but_the_named_is_public(app: Flask) -> None:
    assert {rule.endpoint for rule in app.url_map.iter_rules() if not rule.rule.startswith(PRODUCERS)} == PUBLIC


def test_a_view_that_is_added_later_is_protected_too(settings: Settings, store: Store) -> None:
    app = create_app(settings, store)
    app.add_url_rule("/dashboard", "dashboard", lambda: "secrets")
    assert app.test_client().get("/dashboard").status_code == 401


def test_what_is_not_there_under_v1_is_not_told_to_strangers(app: Flask, client: FlaskClient) -> None:
    assert app.test_client().get("/v1/nothing").status_code == 401
    assert app.test_client().delete("/v1/jobs").status_code == 401
    assert app.test_client().get("/model/v1/nothing").status_code == 401
    assert app.test_client().get("/nothing").status_code == 404
    assert client.delete("/v1/jobs").status_code == 405


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
    ],
)
def test_what_is_no_key_is_refused(header: str | None) -> None:
    with pytest.raises(ProblemError) as caught:
        ApiKeys(["one", "two"]).check(header)
    assert caught.value.status == 401
    assert caught.value.detail


@pytest.mark.parametrize("header", ["Bearer one", "Bearer two", "bearer one", "Bearer  two "])
def test_each_key_opens(header: str) -> None:
    ApiKeys(["one", "two"]).check(header)


KEYS = ("shop:one", "shop:two:2", "press:three", "four")


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ("one", "shop"),
        ("two:2", "shop"),
        ("three", "press"),
        # The first digits of the secret's SHA-256: a name that does not change, and that tells nobody the secret
        ("four", "key-04efaf08"),
    ],
)
def test_a_key_has_a_name_that_views_know(secret: str, name: str, settings: Settings, store: Store) -> None:
    app = create_app(replace(settings, api_keys=KEYS), store)
    app.add_url_rule("/v1/me", "me", caller)
    assert app.test_client().get("/v1/me", headers={"Authorization": f"Bearer {secret}"}).text == name


@pytest.mark.parametrize("given", ["shop:one", "shop", "two", "key-04efaf08", "press:four"])
def test_a_name_is_no_secret(given: str) -> None:
    with pytest.raises(ProblemError):
        ApiKeys(KEYS).check(f"Bearer {given}")


def test_what_needs_no_key_has_no_caller(settings: Settings, store: Store) -> None:
    with create_app(settings, store).test_request_context("/healthz"):
        assert caller() == ""


def test_without_keys_everyone_is_refused_and_told_what_to_set(store: Store) -> None:
    answer = create_app(Settings(), store).test_client().get("/v1/lanes", headers={"Authorization": "Bearer "})
    assert answer.status_code == 401
    assert "BOOMERANG_API_KEYS" in answer.json["detail"]


def test_all_keys_are_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def comparing(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return given == known

    monkeypatch.setattr("webhook.auth.hmac.compare_digest", comparing)
    ApiKeys(["one", "two", "three"]).check("Bearer one")
    assert len(compared) == 3
