"""The start page."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.liveness import WorkerState
from jobs.store.store import Store
from jobs.task_names import RECONCILE
from tests.support.browser import log_in
from webhook.app import create_app
from webhook.settings import Settings

WELL = "All is well"


def test_the_start_page_shows_the_condition_of_the_service(
    person: FlaskClient, pages: Flask, store: Store, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(person, "one")
    store.liveness.beat(WorkerState.READING, [RECONCILE])
    store.attempts.claim_due(1)
    assert WELL in person.get("/").text
    raw.hset(store.context.keys.singleton("totals"), "round", "1000000000000000")
    raw.delete(store.context.keys.singleton("heartbeats"))
    page = person.get("/").text
    assert "no worker answers" in page
    assert page.count("trouble") == 1
    assert WELL not in page
    # The cause is named once
    monkeypatch.setattr(pages.extensions["boomerang"], "ping_broker", lambda: False)
    page = person.get("/").text
    assert page.count("trouble") == 1
    assert "BOOMERANG_BROKER_URL" in page


def test_the_start_page_is_shown_without_redis(settings: Settings) -> None:
    away = "redis://127.0.0.1:1/0"
    person = create_app(replace(settings, api_keys=("shop:one",), redis_url=away, broker_url=away)).test_client()
    log_in(person, "one")
    page = person.get("/")
    assert page.status_code == 200
    assert "BOOMERANG_REDIS_URL" in page.text
