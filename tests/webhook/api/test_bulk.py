"""Lists by every parameter, their counts, and bulk actions over the HTTP API."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.result import Result
from jobs.states import State
from jobs.store import bulks
from jobs.store.store import Store
from schemas.views.bulk import BulkList, BulkView
from schemas.views.jobs import JobList
from tests.support.producers import own
from tests.support.webhook_server import Messages
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


@pytest.fixture
def foxes(client: FlaskClient, store: Store) -> Store:
    """A batch of four jobs, the first two failed, and a job with a label."""
    client.post("/v1/batches?id=foxes", data=LINE * 4)
    store.attempts.admit(2)
    for claim, code in zip(store.attempts.claim([own("foxes.1"), own("foxes.2")]), ("1301", "1201"), strict=True):
        error = Result(error={"code": code, "message": "no"})
        store.attempts.finish(claim.id, State.FAILED, error, "submit", fence=claim.fence)
    body = {"model": "kirin_image_omni", "prompt": "an owl", "external_task_id": "owl", "labels": {"shop": "rome"}}
    assert client.post("/v1/jobs", json=body).status_code == 201
    return store


def listed(client: FlaskClient, query: str) -> list[str]:
    answer = client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 200, answer.text
    assert JobList().validate(json.loads(answer.text)) == {}
    return sorted(job["id"] for job in answer.json["jobs"])


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=failed&status=queued&batch=foxes", "foxes.1 foxes.2 foxes.3 foxes.4"),
        ("status=failed,cancelled", "foxes.1 foxes.2"),
        ("code=1301", "foxes.1"),
        ("code=1301&code=1201&class=invalid", "foxes.2"),
        ("settled_by=submit&lane=default&model=kirin_image_omni", "foxes.1 foxes.2"),
        ("settled_by=poll", ""),
        ("label=shop%3Drome", "owl"),
        ("label=shop%3Drome&batch=foxes", ""),
        ("model=other", ""),
        ("finished_after=2020-01-01", "foxes.1 foxes.2"),
        ("finished_before=2020-01-01", ""),
        ("min_cost=0", ""),
        ("batch=unknown", ""),
        ("producer=stranger", ""),
    ],
)
def test_jobs_are_listed_and_counted_by_every_parameter(
    query: str, ids: str, client: FlaskClient, foxes: Store
) -> None:
    assert listed(client, query) == ids.split()
    assert client.get(f"/v1/jobs?{query}&limit=1&count=true").json["count"] == {
        "jobs": len(ids.split()),
        "exact": True,
    }
    assert "count" not in client.get("/v1/jobs").json


def begin(client: FlaskClient, **body: Any) -> Any:
    answer = client.post("/v1/bulk", json=body)
    assert answer.status_code == 201, answer.text
    assert BulkView().validate(json.loads(answer.text)) == {}
    return answer.json


def test_a_dry_run_then_the_action(client: FlaskClient, foxes: Store, messages: Messages) -> None:
    wanted = {"batch": "foxes", "class": ["moderation"]}
    counted = begin(client, action="retry", filter=wanted, dry_run=True)
    assert (counted["affected"], counted["status"], counted["filter"]) == (1, "done", wanted)
    assert listed(client, "status=failed") == ["foxes.1", "foxes.2"]
    done = begin(client, action="retry", filter=wanted)
    assert (done["affected"], done["progress"]) == (1, 1.0)
    assert listed(client, "status=failed") == ["foxes.2"]
    assert client.get(f"/v1/bulk/{done['id']}").json == done
    found = client.get("/v1/bulk").json
    assert [each["id"] for each in found["bulk"]] == [done["id"], counted["id"]]
    assert BulkList().validate(json.loads(client.get("/v1/bulk").text)) == {}


def test_many_jobs_are_changed_by_rounds_and_an_abort_ends_it(
    client: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulks, "AT_ONCE", -1)
    begun = begin(client, action="cancel", filter={"batch": "foxes"})
    assert (begun["status"], begun["affected"]) == ("running", 0)
    other = begin(client, action="pause", filter={})
    assert client.post(f"/v1/bulk/{begun['id']}/abort").json["status"] == "aborted"
    foxes.bulks.advance()
    assert listed(client, "status=cancelled") == []
    assert client.get(f"/v1/bulk/{other['id']}").json["affected"] == 3
    for _ in range(bulks.MOST_RUNNING):
        begin(client, action="cancel", filter={})
    refused = client.post("/v1/bulk", json={"action": "cancel", "filter": {}})
    assert (refused.status_code, "abort" in refused.json["detail"]) == (409, True)


def test_an_idempotency_key_begins_one_action(client: FlaskClient, foxes: Store) -> None:
    body, headers = {"action": "retry", "filter": {"batch": "foxes"}}, {"Idempotency-Key": "once"}
    ids = [client.post("/v1/bulk", json=body, headers=headers).json["id"] for _ in range(2)]
    assert len(set(ids)) == 1
    other = client.post("/v1/bulk", json=body | {"dry_run": True}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filter": {}}, "action"),
        ({"action": "delete", "filter": {}}, "action"),
        ({"action": "cancel"}, "filter"),
        ({"action": "cancel", "filter": {"status": ["lost"]}}, "filter.status.0"),
        ({"action": "cancel", "filter": {"colour": "red"}}, "filter.colour"),
        ({"action": "cancel", "filter": {"min_cost": "-1"}}, "filter.min_cost"),
        ({"action": "cancel", "filter": {"model": ["x"] * 51}}, "filter.model"),
        ({"action": "priority", "filter": {}}, "priority"),
        ({"action": "cancel", "filter": {}, "priority": "high"}, "priority"),
        ({"action": "cancel", "filter": {}, "limit": 1}, "limit"),
    ],
)
def test_a_wrong_bulk_action_changes_nothing(body: Any, field: str, client: FlaskClient, foxes: Store) -> None:
    refused = client.post("/v1/bulk", json=body)
    assert refused.status_code == 422
    assert list(refused.json["errors"]) == [field]
    assert client.get("/v1/bulk").json == {"bulk": []}


@pytest.fixture
def with_scopes(settings: Settings, store: Store) -> Any:
    """`with_scopes("shop", Scope.READ, …)`: a client of that producer with these scopes."""
    app: Flask = create_app(settings, store, lambda *_: True)

    def made(name: str, *scopes: Scope) -> FlaskClient:
        _, secret = KeyRing(store.context.client, store.context.keys).add(name, scopes)
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    return made


@pytest.mark.parametrize(
    ("action", "scope"),
    [
        ("cancel", Scope.CANCEL),
        ("pause", Scope.CANCEL),
        ("resume", Scope.ENQUEUE),
        ("retry", Scope.ENQUEUE),
        ("priority", Scope.ENQUEUE),
    ],
)
def test_an_action_requires_the_scope_of_the_one_on_a_single_job(action: str, scope: Scope, with_scopes: Any) -> None:
    body: dict[str, Any] = {"action": action, "filter": {}} | ({"priority": "low"} if action == "priority" else {})
    for given in (Scope.READ, Scope.CANCEL, Scope.ENQUEUE):
        for dry_run in (False, True):
            answer = with_scopes("shop", given).post("/v1/bulk", json=body | {"dry_run": dry_run})
            assert answer.status_code == (201 if given is scope else 403)
            assert given is scope or scope.value in answer.json["detail"]
    bulk_id = with_scopes("shop", Scope.READ).get("/v1/bulk").json["bulk"][0]["id"]
    for given in (Scope.READ, Scope.CANCEL, Scope.ENQUEUE):
        client = with_scopes("shop", given)
        assert client.get("/v1/bulk").status_code == (200 if given is Scope.READ else 403)
        assert client.get(f"/v1/bulk/{bulk_id}").status_code == (200 if given in (Scope.READ, scope) else 403)
        assert client.post(f"/v1/bulk/{bulk_id}/abort").status_code == (200 if given is scope else 403)


def test_a_producer_reaches_neither_the_jobs_nor_the_actions_of_another(with_scopes: Any) -> None:
    scopes = (Scope.READ, Scope.ENQUEUE, Scope.CANCEL)
    shop, press, boss = with_scopes("shop", *scopes), with_scopes("press", *scopes), with_scopes("boss", Scope.ADMIN)
    for producer in (shop, press):
        producer.post("/v1/batches?id=foxes", data=LINE * 2)
    done = begin(shop, action="cancel", filter={"batch": "foxes"})
    assert done["affected"] == 2
    assert [job["status"] for job in press.get("/v1/jobs?batch=foxes").json["jobs"]] == ["queued"] * 2
    assert press.get("/v1/bulk").json["bulk"] == []
    assert press.get(f"/v1/bulk/{done['id']}").status_code == 404
    assert press.post(f"/v1/bulk/{done['id']}/abort").status_code == 404
    assert press.get("/v1/jobs?producer=shop").json["jobs"] == []
    for others in ({"producer": "shop"}, {"batch": "unknown"}):
        assert press.post("/v1/bulk", json={"action": "cancel", "filter": others}).status_code == 422
    assert [each["id"] for each in boss.get("/v1/bulk").json["bulk"]] == [done["id"]]
    assert len(boss.get("/v1/jobs?producer=press").json["jobs"]) == 2
    assert begin(boss, action="cancel", filter={"producer": "press"})["affected"] == 2
    assert len(boss.get("/v1/bulk").json["bulk"]) == 2
