import json
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.audit.audit import audit
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.batches import BatchChanged
from tests.support.producers import own
from tests.support.webhook_server import Messages

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


@pytest.fixture
def foxes(client: FlaskClient, store: Store) -> Store:
    """A batch of three jobs, the first two failed."""
    client.post("/v1/batches?id=foxes", data=LINE * 3)
    store.attempts.admit(2)
    for claim, code in zip(store.attempts.claim([own("foxes.1"), own("foxes.2")]), ("1301", "1201"), strict=True):
        error = Result(error={"code": code, "message": "no"})
        store.attempts.finish(claim.id, State.FAILED, error, "submit", fence=claim.fence)
    return store


def did(action: str, affected: int, pending: int = 0) -> dict[str, Any]:
    return {"id": "foxes", "action": action, "affected": affected, "pending": pending}


def test_a_paused_batch_submits_nothing_until_it_is_resumed(
    client: FlaskClient, foxes: Store, messages: Messages, raw: redis.Redis
) -> None:
    paused = client.post("/v1/batches/foxes/pause")
    assert (paused.status_code, paused.json) == (200, did("pause", 1))
    assert BatchChanged().validate(json.loads(paused.text)) == {}
    assert client.get("/v1/batches/foxes").json["paused"] is True
    assert foxes.attempts.admit(10).ids == ()
    raw.delete("boomerang.submit", "{b}:wake")
    # A hint is sent at once
    assert client.post("/v1/batches/foxes/resume").json == did("resume", 1)
    assert messages("boomerang.submit") == [[]]
    assert client.post("/v1/batches/foxes/resume").json == did("resume", 0)
    assert foxes.attempts.admit(10).ids == (own("foxes.3"),)


def test_cancelling_a_batch_cancels_its_unfinished_jobs(client: FlaskClient, foxes: Store) -> None:
    assert client.post("/v1/batches/foxes/cancel").json == did("cancel", 1)
    view = client.get("/v1/batches/foxes").json
    assert (view["done"], view["counts"]["cancelled"], view["counts"]["failed"]) == (True, 1, 2)
    assert audit(foxes) == []


@pytest.mark.slow
def test_a_large_batch_is_cancelled_before_all_its_jobs_are(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.store.batches.AT_ONCE", -1)
    client.post("/v1/batches?id=foxes", data=LINE * 1200)
    assert client.post("/v1/batches/foxes/cancel").json == did("cancel", 500, 700)
    assert store.attempts.admit(10).ids == ()
    assert client.post("/v1/batches/foxes/retry").status_code == 409
    store.batches.sweep(10)
    assert client.get("/v1/batches/foxes").json["counts"]["cancelled"] == 1200
    assert audit(store) == []


@pytest.mark.parametrize(
    ("query", "count"),
    [("", 2), ("?code=1301", 1), ("?code=1301&code=1201", 2), ("?code=7", 0), ("?status=cancelled&status=expired", 0)],
)
def test_a_retry_queues_the_selected_failed_jobs_again(
    query: str, count: int, client: FlaskClient, foxes: Store
) -> None:
    assert client.get("/v1/batches/foxes").json["errors"] == {"1301": 1, "1201": 1}
    dry = f"{query}&dry_run=true" if query else "?dry_run=true"
    assert client.post(f"/v1/batches/foxes/retry{dry}").json == did("retry", count)
    assert foxes.batches.get(own("foxes")).counts[State.FAILED] == 2
    assert client.post(f"/v1/batches/foxes/retry{query}").json == did("retry", count)
    assert foxes.batches.get(own("foxes")).counts[State.FAILED] == 2 - count
    assert audit(foxes) == []


@pytest.mark.parametrize(
    ("query", "field"), [("status=completed", "status"), ("dry_run=perhaps", "dry_run"), ("codes=1", "codes")]
)
def test_an_invalid_retry_is_refused(query: str, field: str, client: FlaskClient, foxes: Store) -> None:
    answer = client.post(f"/v1/batches/foxes/retry?{query}")
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]
    assert foxes.batches.get(own("foxes")).counts[State.FAILED] == 2


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_an_unknown_batch_gets_404(verb: str, client: FlaskClient) -> None:
    answer = client.post(f"/v1/batches/missing/{verb}")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
def test_batch_actions_require_a_key(verb: str, app: Flask, foxes: Store) -> None:
    assert app.test_client().post(f"/v1/batches/foxes/{verb}").status_code == 401
    assert foxes.statistics.totals().ready[""] == 1
