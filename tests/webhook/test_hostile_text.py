"""Text from outside leaves as text: in every page, in CSV and in the log."""

import csv
import io
import logging
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs import logs
from jobs.liveness import Trouble, TroubleCode
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.browser import log_in
from tests.support.hostile_text import HOSTILE, OBEYED
from webhook.app import create_app
from webhook.condition import Condition
from webhook.pages import overview
from webhook.settings import Settings

FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    return create_app(Settings(**{**vars(settings), "api_keys": ("shop:one",)}), store)


@pytest.fixture
def person(app: Flask) -> FlaskClient:
    person = app.test_client()
    assert log_in(person, "one").status_code == 303
    return person


def test_every_page_shows_text_as_text(app: Flask, person: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = (Trouble(TroubleCode.BEAT_AWAY, HOSTILE, HOSTILE),)
    monkeypatch.setattr(overview, "examine", lambda _: Condition(HOSTILE, HOSTILE, None, troubles))
    rules = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    pages = [rule for rule in rules if "<" not in rule and not rule.startswith("/v1/")]
    assert {"/", "/login", "/docs"} <= set(pages)
    for page in pages:
        with person.get(page, query_string={"to": HOSTILE, "id": HOSTILE, HOSTILE: HOSTILE}) as answer:
            assert answer.mimetype != "text/html" or b"<script>alert" not in answer.get_data(), page
    assert "[/oops]" in person.get("/").text


def test_a_refused_login_shows_text_as_text(person: FlaskClient) -> None:
    for form in ({"csrf_token": HOSTILE, "key": HOSTILE}, {"key": HOSTILE}):
        assert "<script>alert" not in person.post("/login", data=form, query_string={"to": HOSTILE}).text


def test_no_cell_of_csv_is_obeyed(client: FlaskClient, store: Store) -> None:
    jobs = [NewJob(id=each, text="{}", model=HOSTILE, labels={HOSTILE: HOSTILE}) for each in (f"a{HOSTILE}", "b")]
    store.jobs.enqueue(jobs, "batch", BatchOptions())
    store.attempts.claim(store.attempts.admit(10).ids)
    done = Result(output=({"type": HOSTILE, "url": HOSTILE},), cost=Decimal(1))
    store.attempts.finish(f"a{HOSTILE}", State.COMPLETED, done, "callback")
    failed = Result(error={"code": HOSTILE, "message": HOSTILE})
    store.attempts.finish("b", State.FAILED, failed, "callback")
    text = client.get("/v1/batches/batch/results?format=csv").text
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 3
    for cell in (cell for row in rows for cell in row):
        assert not FORMULA.match(cell), ascii(cell)
        assert OBEYED.search(cell) is None, ascii(cell)
    assert any("[/oops]" in cell for cell in rows[1])


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged, in the format of the processes."""
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    logs.guard(root)
    before = root.level
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


def test_no_request_forges_a_line_of_the_log(client: FlaskClient, logged: io.StringIO) -> None:
    odd = HOSTILE.replace("\n", "%0A").replace("\r", "%0D")
    for method, path in (("post", f"/v1/jobs/{odd}/cancel"), ("post", f"/callbacks/{odd}/{odd}"), ("get", f"/{odd}")):
        getattr(client, method)(path)
    client.post("/v1/jobs", json={HOSTILE: HOSTILE, "external_task_id": HOSTILE, "model": HOSTILE})
    log = logging.getLogger("webhook.test")
    log.warning("job %s: %s", HOSTILE, HOSTILE)
    error = ValueError(HOSTILE)
    log.error("it failed: %s", HOSTILE, exc_info=(ValueError, error, None), stack_info=True)
    text = logged.getvalue()
    assert OBEYED.search(text) is None
    began: Any = re.compile(r"\d{4}-\d\d-\d\d |  ")
    assert [line for line in text.splitlines() if not began.match(line)] == []
    assert "ValueError" in text
