"""The start page."""

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.limits import Subject
from jobs.liveness import WorkerState
from jobs.new_job import NewJob
from jobs.store.store import Store
from jobs.store.stuck import Kind
from jobs.task_names import RECONCILE
from tests.support.browser import log_in
from webhook.app import create_app
from webhook.pages.needs_person import NEEDS
from webhook.settings import Settings

KEY = "a-producer-key-for-tests"
WELL = "Worker is well"


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


def test_without_jobs_the_page_shows_the_first_call_with_its_own_address(pages: Flask) -> None:
    for key in ("one", KEY):
        browser = pages.test_client()
        browser.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        assert "curl http://jobs.example:8420/v1/jobs" in browser.get("/", base_url="http://jobs.example:8420").text
        behind_tls = browser.get("/", base_url="http://jobs.example", headers={"X-Forwarded-Proto": "https"})
        assert "curl https://jobs.example/v1/jobs" in behind_tls.text


def test_the_first_call_of_the_page_is_accepted(shop: FlaskClient, client: FlaskClient) -> None:
    (body,) = re.findall(r"-d '(.+?)'", unescape(shop.get("/").text))
    assert client.post("/v1/jobs", data=body, content_type="application/json").status_code == 201
    assert "curl" in shop.get("/").text  # the job is another producer's


def test_an_administrator_sees_all_jobs_and_a_producer_its_own(
    admin: FlaskClient, log_in_as: Callable[..., FlaskClient], finish: Callable[..., None], store: Store
) -> None:
    finish("one", "0.4321", "shop")
    finish("two", "0.1111", "press")
    shop, press = log_in_as("shop"), log_in_as("press")
    whole = admin.get("/").text
    assert "Jobs by state: 2 completed of 2" in whole
    assert "$0.5432" in whole
    assert "$0.4321" in shop.get("/").text
    assert "$0.1111" in press.get("/").text
    for browser, others in ((shop, "0.1111"), (press, "0.4321")):
        page = browser.get("/").text
        assert others not in page
        assert "0.5432" not in page
        assert "needs-title" not in page
        assert "by state" not in page


def test_spending_is_compared_with_the_caps(settings: Settings, store: Store, finish: Callable[..., None]) -> None:
    finish("one", "0.5")
    store.context.limits.change(Subject.KEY, "shop", {"max_cost_per_day": Decimal("2.25")})
    store.context.limits.change(Subject.KEY, "press", {"max_cost_per_day": Decimal("7.75")})
    app = create_app(replace(settings, api_keys=("shop:one",)), store)
    for key, seen in ((KEY, ["$2.25", "$7.75"]), ("one", ["$2.25"])):
        page = app.test_client().get("/", headers={"Authorization": f"Bearer {key}"}).text
        assert [cap for cap in ("$2.25", "$7.75") if cap in page] == seen
        assert "Spent of the cap in dollars: 0.5 of 2.25" in page


def test_what_needs_a_person_is_counted(admin: FlaskClient, store: Store, finish: Callable[..., None]) -> None:
    finish("one", "0.5")
    assert "Nothing needs a person" in admin.get("/").text
    finish("two", None)
    page = admin.get("/").text
    assert "Jobs of unknown cost" in page
    assert "Nothing needs a person" not in page


def test_every_kind_of_dead_end_has_words() -> None:
    assert set(NEEDS) == set(Kind) - {Kind.IMAGE}


def test_the_page_takes_as_many_round_trips_with_many_jobs(
    admin: FlaskClient, store: Store, finish: Callable[..., None], commands: Callable[[], int]
) -> None:
    finish("first", "0.01")
    admin.get("/")
    before = commands()
    admin.get("/")
    few = commands() - before
    for number in range(40):
        finish(f"job-{number}", "0.01")
    before = commands()
    admin.get("/")
    assert commands() - before <= few + 3  # of keys and limits that are read again every few seconds


def test_a_producer_sees_its_unfinished_jobs_by_state(log_in_as: Callable[..., FlaskClient], store: Store) -> None:
    text = '{"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
    own = [NewJob(id=f"{number}@shop", text=text, model="kirin_image_omni", owner="shop") for number in range(3)]
    store.jobs.enqueue(own)
    store.jobs.enqueue([NewJob(id="a@press", text=text, model="kirin_image_omni", owner="press")])
    store.attempts.claim([store.attempts.admit(1).ids[0]])
    figures = {}
    for name in ("shop", "press"):
        page = log_in_as(name).get("/").text
        states = re.findall(
            r"<dt>(?:(?!</dt>).)*?(queued|submitting|Unfinished)(?:(?!</dt>).)*</dt>\s*<dd[^>]*>\D*(\d+)", page
        )
        figures[name] = dict(states)
    assert figures["shop"]["Unfinished"] == "3"
    assert figures["press"]["Unfinished"] == "1"
    for found in figures.values():
        assert int(found["queued"]) + int(found["submitting"]) == int(found["Unfinished"])
    assert sum(int(found["submitting"]) for found in figures.values()) == 1
