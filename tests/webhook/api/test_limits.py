"""PATCH /v1/lanes/<lane> and /v1/keys/<producer>/limits."""

import json
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.store.store import Store
from schemas.views.lanes import LaneList, LaneView
from schemas.views.limits import KeyLimitsView
from webhook.settings import Settings

SHOP = "the-key-of-the-shop-for-tests"
LANE, KEY = "/v1/lanes/default", "/v1/keys/shop/limits"


JOB = {"model": "kirin_image_omni", "prompt": "a fox"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, api_keys=(f"shop:{SHOP}",))


@pytest.fixture
def boss(client: FlaskClient) -> FlaskClient:
    """A client with an administrator's key."""
    return client


@pytest.fixture
def shop(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {SHOP}"
    return client


def test_an_operator_changes_pauses_and_resumes_a_lane(boss: FlaskClient, shop: FlaskClient) -> None:
    given = {"max_in_flight": 7, "max_cost_per_day": "12.50", "reason": "new contract", "expires_in": 600}
    answer = boss.patch(LANE, json=given)
    assert answer.status_code == 200, answer.text
    view = json.loads(answer.text)
    assert LaneView().validate(view) == {}
    assert (view["max_in_flight"], view["limit"], view["max_cost_per_day"]) == (7, 7, "12.50")
    changes = {each["name"]: each for each in view["overrides"]}
    assert {name: (each["value"], each["configured"]) for name, each in changes.items()} == {
        "max_in_flight": (7, 0),
        "max_cost_per_day": ("12.50", None),
    }
    assert all(each["until"] and each["by"] and each["reason"] == "new contract" for each in changes.values())

    paused = boss.patch(LANE, json={"paused": True, "expires_in": 600}).json
    assert (paused["paused"], paused["held"], paused["max_in_flight"]) == (True, True, 7)
    assert paused["held_until"]
    shown = json.loads(shop.get("/v1/lanes").text)
    assert LaneList().validate(shown) == {}
    (lane,) = shown["lanes"]
    assert (lane["paused"], lane["overrides"]) == (True, [])  # producers do not see who changed what

    again = boss.patch(LANE, json={"paused": False, "reset": ["max_in_flight", "max_cost_per_day"]}).json
    assert (again["paused"], again["held"], again["max_in_flight"], again["overrides"]) == (False, False, 0, [])


def test_an_operator_changes_the_limits_of_a_key(boss: FlaskClient) -> None:
    before = json.loads(boss.get(KEY).text)
    assert KeyLimitsView().validate(before) == {}
    assert (before["weight"], before["overrides"]) == (1, [])
    answer = boss.patch(KEY, json={"weight": 3, "priority": "high", "callback_hosts": ["Hooks.Example"]})
    after = json.loads(answer.text)
    assert KeyLimitsView().validate(after) == {}
    assert (after["weight"], after["priority"], after["callback_hosts"]) == (3, "high", ["hooks.example"])
    assert boss.get(KEY).json == after
    none = boss.patch(KEY, json={"callback_hosts": None, "reset": ["weight", "priority"]}).json
    assert [each["name"] for each in none["overrides"]] == ["callback_hosts"]


def test_a_changed_limit_of_jobs_is_in_force(boss: FlaskClient, shop: FlaskClient) -> None:
    assert boss.patch(KEY, json={"max_unfinished": 0}).status_code == 200
    refused = shop.post("/v1/jobs", json=JOB)
    assert refused.status_code == 429
    boss.patch(KEY, json={"reset": ["max_unfinished"]})
    assert shop.post("/v1/jobs", json=JOB).status_code == 201


BAD: dict[str, tuple[str, Any, int]] = {
    "no object": (LANE, [], 422),
    "text": (LANE, "x", 422),
    "an unknown limit": (LANE, {"wings": 2}, 422),
    "of a key": (LANE, {"weight": 2}, 422),
    "of a lane": (KEY, {"max_in_flight": 2}, 422),
    "a pause of a key": (KEY, {"paused": True}, 422),
    "too few": (LANE, {"max_in_flight": -1}, 422),
    "text for a number": (LANE, {"max_in_flight": "7"}, 422),
    "not a number": (LANE, {"submit_rate": "nan"}, 422),
    "no money": (LANE, {"max_cost_per_day": "0"}, 422),
    "less than a nano-dollar": (KEY, {"max_cost_per_day": "1e-30"}, 422),
    "too much weight": (KEY, {"weight": 101}, 422),
    "no class": (KEY, {"priority": "highest"}, 422),
    "no hosts": (KEY, {"callback_hosts": []}, 422),
    "a reset of nothing known": (LANE, {"reset": ["wings"]}, 422),
    "both": (LANE, {"max_in_flight": 7, "reset": ["max_in_flight"]}, 422),
    "a time in the past": (LANE, {"paused": True, "expires_in": -1}, 422),
    "no lane": ("/v1/lanes/other", {"paused": True}, 404),
    "no key": ("/v1/keys/nobody/limits", {"weight": 2}, 404),
}


@pytest.mark.parametrize(("path", "body", "status"), BAD.values(), ids=BAD)
def test_a_bad_change_changes_nothing(boss: FlaskClient, store: Store, path: str, body: Any, status: int) -> None:
    answer = boss.patch(path, json=body)
    assert answer.status_code == status, answer.text
    assert store.context.client.hgetall(store.context.keys.singleton("limits")) == {}
    assert not store.lanes.get().paused


@pytest.mark.parametrize("path", [LANE, KEY])
def test_only_operators_may(shop: FlaskClient, path: str) -> None:
    assert shop.patch(path, json={}).status_code == 403


def test_producers_do_not_see_limits_of_keys(shop: FlaskClient) -> None:
    assert shop.get(KEY).status_code == 403
