"""The pages of lanes, and the forms that change one."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.limits import Subject
from jobs.store.store import Store
from tests.support.browser import act
from tests.support.hostile_text import HOSTILE

ACTIONS = ("limits", "reset", "pause", "resume")


def limits(**changed: str) -> dict[str, str]:
    """The form as it is sent: with every limit, and what it began with."""
    values = {"max_in_flight": "0", "submit_rate": "0", "max_cost_per_day": ""}
    before = {f"before_{name}": value for name, value in values.items()}
    return {**values, **before, "expires_in": "", "reason": "", **changed}


def shown(browser: FlaskClient) -> str:
    return browser.get("/lanes/default").text


def test_an_administrator_changes_limits_for_a_time(admin: FlaskClient, store: Store) -> None:
    form = limits(max_in_flight="12", max_cost_per_day="2.5", expires_in="3600", reason="a trial")
    answer = act(admin, "/lanes/default", "/lanes/default/limits", **form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/lanes/default")
    overrides = store.context.limits.overrides(Subject.LANE, "default")
    # What the form did not change is not overridden
    assert set(overrides) == {"max_in_flight", "max_cost_per_day"}
    assert overrides["max_in_flight"].value == 12
    assert overrides["max_in_flight"].reason == "a trial"
    assert overrides["max_in_flight"].until is not None
    page = shown(admin)
    assert "Changed the limits of lane default for 1 h" in page
    assert "a trial" in page
    # A message is shown once
    assert "Changed the limits" not in shown(admin)


def test_a_change_leaves_what_somebody_else_changed_meanwhile(admin: FlaskClient, store: Store) -> None:
    act(admin, "/lanes/default", "/lanes/default/limits", **limits(max_in_flight="12"))
    # This form was opened before.
    act(admin, "/lanes/default", "/lanes/default/limits", **limits(submit_rate="2"))
    overrides = store.context.limits.overrides(Subject.LANE, "default")
    assert {name: each.value for name, each in overrides.items()} == {"max_in_flight": 12, "submit_rate": 2.0}
    page = shown(admin)
    assert 'name="before_max_in_flight" value="12"' in page
    assert 'name="before_submit_rate" value="2"' in page


def test_a_limit_gets_its_configured_value_back(admin: FlaskClient, store: Store) -> None:
    act(admin, "/lanes/default", "/lanes/default/limits", **limits(submit_rate="2.5", max_in_flight="3"))
    act(admin, "/lanes/default", "/lanes/default/reset", limit="submit_rate")
    assert set(store.context.limits.overrides(Subject.LANE, "default")) == {"max_in_flight"}
    assert act(admin, "/lanes/default", "/lanes/default/reset", limit="nothing").status_code == 422


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("max_in_flight", "-1"),
        ("max_in_flight", "1.5"),
        ("max_in_flight", "many"),
        ("max_in_flight", ""),
        ("submit_rate", "nan"),
        ("submit_rate", "-0.1"),
        ("max_cost_per_day", "0"),
        ("max_cost_per_day", "lots"),
        ("max_cost_per_day", "Infinity"),
        ("expires_in", "0"),
        ("expires_in", "soon"),
        ("reason", "x" * 201),
    ],
)
def test_a_form_with_a_fault_changes_nothing_and_keeps_what_was_entered(
    field: str, text: str, admin: FlaskClient, store: Store
) -> None:
    form = {**limits(max_in_flight="7"), field: text}
    answer = act(admin, "/lanes/default", "/lanes/default/limits", **form)
    assert answer.status_code == 422
    assert store.context.limits.overrides(Subject.LANE, "default") == {}
    if field != "expires_in":
        assert 'aria-invalid="true"' in answer.text
        assert f'value="{text}"' in answer.text


def test_a_form_without_a_change_says_so(admin: FlaskClient, store: Store) -> None:
    assert act(admin, "/lanes/default", "/lanes/default/limits", **limits()).status_code == 303
    assert "Nothing was changed" in shown(admin)
    assert store.context.limits.overrides(Subject.LANE, "default") == {}


def test_a_lane_is_paused_and_resumed(admin: FlaskClient, shop: FlaskClient, store: Store) -> None:
    act(admin, "/lanes/default", "/lanes/default/pause", reason="the account is checked", expires_in="900")
    lane = store.lanes.get("default")
    assert lane.paused
    assert lane.held_until is not None
    for browser in (admin, shop):
        assert "the account is checked" in shown(browser)
        assert "the account is checked" in browser.get("/").text
        assert "the account is checked" in browser.get("/lanes").text
    act(admin, "/lanes/default", "/lanes/default/resume")
    assert not store.lanes.get("default").paused


def test_a_pause_with_a_fault_says_why(admin: FlaskClient, store: Store) -> None:
    assert act(admin, "/lanes/default", "/lanes/default/pause", expires_in="-5").status_code == 303
    assert "was not paused" in shown(admin)
    assert not store.lanes.get("default").paused


@pytest.mark.parametrize("action", ACTIONS)
def test_a_producer_sees_no_form_and_changes_nothing(action: str, shop: FlaskClient, store: Store) -> None:
    assert f"/lanes/default/{action}" not in shown(shop)
    answer = act(shop, "/lanes/default", f"/lanes/default/{action}", **limits(max_in_flight="1"))
    assert answer.status_code == 403
    assert not store.lanes.get("default").paused
    assert store.context.limits.overrides(Subject.LANE, "default") == {}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_change_needs_the_token_of_the_form(action: str, admin: FlaskClient, store: Store) -> None:
    assert admin.post(f"/lanes/default/{action}", data=limits(max_in_flight="1")).status_code == 400
    assert not store.lanes.get("default").paused
    assert store.context.limits.overrides(Subject.LANE, "default") == {}


def test_a_change_is_in_the_audit_log(admin: FlaskClient, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        act(admin, "/lanes/default", "/lanes/default/limits", **limits(max_in_flight="5"))
        act(admin, "/lanes/default", "/lanes/default/pause", reason="why")
    changed, paused = (record.getMessage() for record in caplog.records)
    assert "operation=pages.change_lane_limits lane=default max_in_flight=5" in changed
    assert "operation=pages.pause_lane lane=default paused=True" in paused
    assert "producer=boss" in changed


@pytest.mark.parametrize("lane", ["nothing", "%3Cscript%3E", "default%2Fx"])
def test_an_unknown_lane_is_not_found(lane: str, admin: FlaskClient) -> None:
    answer = admin.get(f"/lanes/{lane}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


def test_what_a_lane_has_spent_is_for_administrators(
    admin: FlaskClient, shop: FlaskClient, finish: Callable[..., None]
) -> None:
    finish("one", "0.4375")
    for address in ("/lanes", "/lanes/default"):
        assert "0.4375" in admin.get(address).text
        assert "0.4375" not in shop.get(address).text
    act(admin, "/lanes/default", "/lanes/default/limits", **limits(max_in_flight="77", reason="only for operators"))
    for address in ("/lanes", "/lanes/default"):
        assert "only for operators" not in shop.get(address).text


def test_learned_prices_are_for_administrators(
    admin: FlaskClient, shop: FlaskClient, finish: Callable[..., None]
) -> None:
    finish("one", "0.4375")
    finish("two", "0.5")
    assert "Prices learned" in admin.get("/lanes").text
    assert "$0.50" in admin.get("/lanes").text
    assert "Prices learned" not in shop.get("/lanes").text


@pytest.mark.parametrize("text", [HOSTILE, "<img src=x onerror=alert(1)>", "\u202eabc", "x" * 200, "🦊" * 50])
def test_a_reason_is_text(text: str, admin: FlaskClient, store: Store) -> None:
    store.lanes.pause("default", text)
    for address in ("/", "/lanes", "/lanes/default"):
        page = admin.get(address)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


def test_a_key_that_only_reads_sees_lanes(log_in_as: Callable[..., FlaskClient]) -> None:
    assert log_in_as("reader", Scope.READ).get("/lanes").status_code == 200
    assert log_in_as("writer", Scope.ENQUEUE).get("/lanes").status_code == 403
