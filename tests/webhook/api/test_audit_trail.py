"""GET /v1/audit-trail: who sees what, its filters and pages."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.audit_trail import Action, Via
from jobs.owners import ANYONE
from jobs.store.store import Store
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model": "kirin_image_omni", "prompt": "a fox"}\n'


@pytest.fixture
def clients(settings: Settings, store: Store) -> dict[str, FlaskClient]:
    keys = ("shop:key-of-the-shop", "press:key-of-the-press")
    wanted = replace(settings, api_keys=keys, admin_keys=("boss:key-of-the-boss",))
    app, found = create_app(wanted, store, lambda *_: True), {}
    for name in ("shop", "press", "boss"):
        found[name] = app.test_client()
        found[name].environ_base["HTTP_AUTHORIZATION"] = f"Bearer key-of-the-{name}"
    for name in ("shop", "press"):
        found[name].post("/v1/batches?id=boats", data=LINE * 2)
        found[name].post("/v1/batches/boats/cancel")
    found["boss"].patch("/v1/lanes/default", json={"paused": True, "reason": "new contract"})
    store.audit_trail.record(
        Action(owner=ANYONE, by="root", operation="keys.add", via=Via.COMMAND, details={"key": "1ca413871420"})
    )
    return found


def listed(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/v1/audit-trail?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["entries"]
    return found


def names(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["by"], each["operation"]) for each in found]


def test_a_producer_sees_its_entries_and_an_administrator_all(clients: dict[str, FlaskClient]) -> None:
    for name in ("shop", "press"):
        assert names(listed(clients[name])) == [(name, "batch_actions.cancel"), (name, "batches.create")]
    assert names(listed(clients["boss"])) == [
        ("root", "keys.add"),
        ("boss", "limits.change_lane"),
        ("press", "batch_actions.cancel"),
        ("press", "batches.create"),
        ("shop", "batch_actions.cancel"),
        ("shop", "batches.create"),
    ]
    assert listed(clients["shop"], "key=press") == []
    assert listed(clients["shop"], "id=boats@press") == []


def test_an_entry(clients: dict[str, FlaskClient]) -> None:
    cancel, create = listed(clients["shop"])
    assert {name: cancel[name] for name in ("by", "via", "status", "job", "batch", "affected", "outcome")} == {
        "by": "shop",
        "via": "api",
        "status": 200,
        "job": None,
        "batch": "boats",
        "affected": 2,
        "outcome": None,
    }
    assert cancel["key"].startswith("env-")
    assert create["affected"] == 2
    assert len(create["request"]) == 16
    command, pause, *_, theirs = listed(clients["boss"])
    assert theirs["batch"] == "boats@shop"
    assert pause["details"] == {"lane": "default", "paused": "True", "reason": "new contract"}
    assert (command["key"], command["status"], command["request"]) == (None, None, None)
    assert command["details"] == {"key": "1ca413871420"}


def test_filters_and_pages(clients: dict[str, FlaskClient]) -> None:
    boss = clients["boss"]
    assert names(listed(boss, "operation=cancel&key=shop")) == [("shop", "batch_actions.cancel")]
    assert len(listed(boss, "id=boats")) == 4
    assert names(listed(boss, "id=1ca413871420")) == [("root", "keys.add")]
    assert names(listed(boss, "id=default")) == [("boss", "limits.change_lane")]
    assert listed(boss, "until=2020-01-01") == listed(boss, "since=2100-01-01") == []
    whole, cursor, found = listed(boss), "", []
    while True:
        page = boss.get(f"/v1/audit-trail?limit=1{cursor}").json
        found += page["entries"]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == whole
    request = whole[-1]["request"]
    assert names(listed(boss, f"id={request}")) == [("shop", "batches.create")]


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=1-1",
        "limit=0",
        "limit=501",
        "since=then",
        "until=x",
        "operation=",
        "key=",
        "id=",
        "id=" + "x" * 201,
        "state=x",
    ],
)
def test_a_bad_query_is_refused(clients: dict[str, FlaskClient], query: str) -> None:
    assert clients["shop"].get(f"/v1/audit-trail?{query}").status_code == 422


def test_a_damaged_entry_is_one_of_the_page(clients: dict[str, FlaskClient], store: Store) -> None:
    store.context.client.xadd("{b}:at:shop", {"x": "y"})
    damaged, *others = listed(clients["shop"])
    assert (damaged["operation"], damaged["at"], damaged["details"]) == ("damaged", None, {})
    assert len(others) == 2
