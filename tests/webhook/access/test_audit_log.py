"""The audit log has one line for each requested change, with producer, operation and outcome, and no secret."""

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.logs import Guarded
from jobs.store.store import Store
from webhook.access.scopes import PUBLIC, is_page
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model": "kirin_image_omni", "prompt": "a fox"}\n'


@pytest.fixture
def shop(settings: Settings, store: Store, caplog: pytest.LogCaptureFixture) -> FlaskClient:
    caplog.set_level(logging.INFO, "boomerang.audit")
    app = create_app(Settings(**{**vars(settings), "api_keys": ("shop:secret-of-shop",)}), store, lambda *_: True)
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer secret-of-shop"
    return client


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, str]]]:
    """Return `lines()`, which parses the audit log so far."""

    def read() -> list[dict[str, str]]:
        messages = [record.getMessage() for record in caplog.records if record.name == "boomerang.audit"]
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in messages]

    return read


def test_a_new_job_is_logged_with_its_producer(
    shop: FlaskClient, fox: dict[str, Any], lines: Callable[[], list[dict[str, str]]]
) -> None:
    answer = shop.post("/v1/jobs?dry_run=false", json=fox | {"external_task_id": "fox"})
    assert answer.status_code == 201
    (line,) = lines()
    assert line == {
        "key": line["key"],
        "producer": "shop",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/v1/jobs",
        "operation": "jobs.create",
        "job_id": "fox@shop",
        "outcome": "created",
        "status": "201",
        "request": answer.headers["X-Request-Id"],
    }
    assert line["key"].startswith("env-")


def test_a_batch_is_logged_with_its_counts(shop: FlaskClient, lines: Callable[[], list[dict[str, str]]]) -> None:
    shop.post("/v1/batches?id=b", data=LINE * 2 + b"{}\n")
    shop.post("/v1/batches/b/cancel")
    upload, cancel = lines()
    assert (upload["batch_id"], upload["accepted"], upload["known"], upload["rejected"]) == ("b@shop", "2", "0", "1")
    assert (cancel["operation"], cancel["batch_id"], cancel["affected"]) == ("batch_actions.cancel", "b@shop", "2")


def test_every_change_is_logged_and_no_read(
    shop: FlaskClient, app: Flask, lines: Callable[[], list[dict[str, str]]]
) -> None:
    changes = 0
    for rule in app.url_map.iter_rules():
        if rule.endpoint in PUBLIC or is_page(rule.endpoint):
            continue
        (method,) = (rule.methods or set()) & {"GET", "POST", "PUT", "PATCH"}
        with shop.open(re.sub("<.+?>", "nothing", rule.rule), method=method) as answer:
            status = answer.status_code
        if method != "GET":
            changes += 1
            assert (lines()[-1]["operation"], lines()[-1]["status"]) == (rule.endpoint, str(status))
        assert len(lines()) == changes
    assert changes >= 12


def test_refused_changes_and_refused_keys_are_logged(
    settings: Settings, store: Store, shop: FlaskClient, lines: Callable[[], list[dict[str, str]]]
) -> None:
    anyone = create_app(settings, store).test_client()
    anyone.get("/v1/jobs", headers={"Authorization": "Bearer wrong"})
    anyone.get("/v1/jobs")
    shop.post("/v1/jobs/absent/cancel")
    refused, cancel = lines()
    assert (refused["refused"], refused["status"], refused["address"]) == ("key", "401", "127.0.0.1")
    assert (cancel["status"], cancel["job_id"]) == ("404", "absent")


def test_callbacks_and_rate_limited_calls_are_not_logged(
    settings: Settings, store: Store, shop: FlaskClient, lines: Callable[[], list[dict[str, str]]]
) -> None:
    shop.post("/callbacks/x/y", json={})
    rated = create_app(Settings(**{**vars(settings), "rate_limit": "1/day"}), store).test_client()
    headers = {"Authorization": f"Bearer {settings.admin_keys[0].partition(':')[2]}"}
    assert rated.get("/v1/lanes", headers=headers).status_code == 200
    assert rated.post("/v1/jobs", headers=headers).status_code == 429
    assert lines() == []


def test_no_line_contains_a_secret_or_can_be_forged(shop: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    shop.post("/v1/jobs", headers={"Authorization": "Bearer bmr_0123456789ab_wrong-secret"})
    shop.post("/v1/jobs/a%0a2026-11-21%20INFO%20key=boss/cancel?token=query-secret", data="body-secret")
    assert "secret" not in caplog.text.replace("outcome", "")
    assert not [record for record in caplog.records if "\n" in record.getMessage()]


def test_as_json_each_fact_is_a_member(shop: FlaskClient, monkeypatch: pytest.MonkeyPatch, fox: dict[str, Any]) -> None:
    monkeypatch.setattr(Guarded, "as_json", True)
    written: list[dict[str, Any]] = []

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(Guarded().format(record)))

    logger = logging.getLogger("boomerang.audit")
    handler = ListHandler()
    logger.addHandler(handler)
    try:
        shop.post("/v1/jobs", json=fox | {"external_task_id": "fox"})
    finally:
        logger.removeHandler(handler)
    (line,) = written
    assert (line["producer"], line["job_id"], line["status"]) == ("shop", "fox@shop", 201)
