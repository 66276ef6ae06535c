"""Uploads with `paused` or `pilot`: what runs before the batch is approved, and who may approve it."""

import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.audit.audit import audit
from jobs.errors import StoreUnavailable
from jobs.store.batches import Batches
from jobs.store.store import Store
from schemas.views.batches import BatchAccepted, BatchChanged, BatchView
from tests.support.producers import own
from tests.support.webhook_server import Messages
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'
OTHER = LINE.replace(b"}", b',"n":2}')


def test_a_paused_upload_waits_for_an_approval(client: FlaskClient, store: Store, messages: Messages) -> None:
    answer = client.post("/v1/batches?id=b&paused=true", data=LINE * 3)
    assert (answer.status_code, answer.json["accepted"], answer.json["pilot"]) == (201, 3, None)
    assert BatchAccepted().validate(json.loads(answer.text)) == {}
    view = json.loads(client.get("/v1/batches/b").text)
    assert BatchView().validate(view) == {}
    assert (view["paused"], view["awaits_approval"], view["pilot"]) == (True, True, None)
    assert store.attempts.admit(10).ids == ()
    assert messages("boomerang.submit") == []
    assert client.post("/v1/batches/b/resume").status_code == 409
    approved = client.post("/v1/batches/b/approve")
    assert BatchChanged().validate(json.loads(approved.text)) == {}
    assert approved.json == {"id": "b", "action": "approve", "affected": 3, "pending": 0}
    assert messages("boomerang.submit") == [[]]
    assert client.post("/v1/batches/b/approve").json["affected"] == 0
    assert len(store.attempts.admit(10).ids) == 3


def test_the_audit_log_names_who_approved(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    client.post("/v1/batches?id=b&paused=true", data=LINE)
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        client.post("/v1/batches/b/approve")
    (line,) = [each.getMessage() for each in caplog.records if each.name == "boomerang.audit"]
    assert "operation=batch_actions.approve" in line
    assert "affected=1" in line


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["skip", "abort"])
def test_a_pilot_is_spread_over_an_upload_of_several_chunks(on_error: str, client: FlaskClient, store: Store) -> None:
    lines = LINE * 700 + OTHER * 2 + LINE * 500
    answer = client.post(f"/v1/batches?id=b&pilot=10&on_error={on_error}", data=lines)
    assert (answer.status_code, answer.json["accepted"], answer.json["pilot"]) == (201, 1202, 10)
    ids = store.attempts.admit(100).ids
    places = sorted(int(each.partition("@")[0].removeprefix("b.")) for each in ids)
    assert len(places) == 10
    assert {701, 702} & set(places)
    assert places[0] <= 200
    assert places[-1] >= 1000
    view = client.get("/v1/batches/b").json
    assert (view["paused"], view["pilot"]) == (False, {"jobs": 10, "unfinished": 10, "cost": "0"})
    again = client.post(f"/v1/batches?id=b&pilot=10&on_error={on_error}", data=lines)
    assert (again.status_code, again.json["known"], again.json["pilot"]) == (201, 1202, 10)
    assert client.post("/v1/batches?id=b&pilot=11", data=lines).status_code == 422
    assert store.attempts.admit(100).ids == ()
    assert audit(store) == []


@pytest.mark.parametrize("on_error", ["skip", "abort"])
def test_an_upload_that_dies_before_its_pilot_begins_is_repeated(
    on_error: str, client: FlaskClient, store: Store, settings: Settings
) -> None:
    class Dying(Batches):
        def begin_pilot(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("the process died")

    failing = Store(store.context.client, settings)
    failing.batches = Dying(failing.context, failing.jobs)
    producer = create_app(settings, failing, lambda *_: True).test_client()
    producer.environ_base = client.environ_base
    broken = producer.post(f"/v1/batches?id=b&pilot=2&on_error={on_error}", data=LINE * 5)
    assert (broken.status_code, "?id=b" in broken.json["detail"]) == (503, True)
    assert store.attempts.admit(10).ids == ()
    assert "pilot of 2 jobs" in client.get("/v1/batches/b").json["reason"]
    again = client.post(f"/v1/batches?id=b&on_error={on_error}", data=LINE * 5).json
    assert (again["known"], again["pilot"]) == (5, 2)
    assert len(store.attempts.admit(10).ids) == 2
    assert audit(store) == []


def test_lines_of_other_batches_are_not_in_the_pilot(client: FlaskClient, store: Store) -> None:
    known = b'{"model":"kirin_image_omni","prompt":"a hare","external_task_id":"mine"}\n'
    client.post("/v1/batches?id=a&paused=true", data=known)
    answer = client.post("/v1/batches?id=b&pilot=1", data=known)
    assert (answer.json["known"], answer.json["pilot"]) == (1, 0)
    assert store.attempts.admit(10).ids == ()
    assert store.batches.get(own("b")).done


@pytest.mark.parametrize(
    ("query", "field"),
    [("pilot=0", "pilot"), ("pilot=501", "pilot"), ("pilot=x", "pilot"), ("paused=maybe", "paused"),
     ("paused=true&pilot=2", "pilot")],
)  # fmt: skip
def test_invalid_options_are_refused(query: str, field: str, client: FlaskClient) -> None:
    answer = client.post(f"/v1/batches?{query}", data=LINE)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
