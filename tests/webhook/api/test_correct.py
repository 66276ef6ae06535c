"""`POST /v1/jobs/<id>/retry` with a body: the next revision of a refused request."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.jobs import JobView

FIXED = {"model": "kirin_image_omni", "prompt": "a calm fox", "labels": {"shop": "berlin"}}


@pytest.fixture
def refused(client: FlaskClient, fox: dict[str, Any], store: Store) -> str:
    """The id of a job whose request was refused."""
    job = client.post("/v1/jobs", json=fox | {"external_task_id": "fox"}).json
    refuse(store)
    return str(job["id"])


def refuse(store: Store) -> None:
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    result = Result(error={"code": "1301", "message": "unsafe"})
    assert store.attempts.finish(claim.external_task_id, State.FAILED, result, "submit").outcome == "finished"


def test_a_corrected_request_is_queued_under_the_same_id(client: FlaskClient, refused: str, store: Store) -> None:
    assert client.get(f"/v1/jobs/{refused}").json["class"] == "moderation"

    answer = client.post(f"/v1/jobs/{refused}/retry", json=FIXED)

    assert (answer.status_code, answer.json["status"], answer.json["revision"]) == (200, "queued", 2)
    assert (answer.json["error"], answer.json["class"], answer.json["labels"]) == (None, None, {"shop": "berlin"})
    assert JobView().validate(json.loads(answer.text)) == {}
    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    assert claim.external_task_id.endswith("~2")
    assert '"prompt":"a calm fox"' in claim.text


def test_a_repeat_is_answered_the_same_and_sends_nothing_again(client: FlaskClient, refused: str, store: Store) -> None:
    path, key = f"/v1/jobs/{refused}/retry", {"Idempotency-Key": "once"}
    first = client.post(path, json=FIXED, headers=key)
    assert client.post(path, json=FIXED).json == first.json
    refuse(store)

    again = [client.post(path, json=FIXED, headers=headers) for headers in ({}, key)]

    assert [(each.status_code, each.json["status"], each.json["revision"]) for each in again] == [
        (200, "failed", 2)
    ] * 2
    other = client.post(path, json=FIXED | {"prompt": "another"}, headers=key)
    assert (other.status_code, "another key" in other.json["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"model": "kirin_image_omni"}, 422, "prompt"),
        (FIXED | {"external_task_id": "hare"}, 422, "external_task_id"),
        (FIXED | {"n": 12}, 422, "n"),
        (FIXED | {"image_list": [{"image": "image:sha256:" + 64 * "a"}]}, 422, "image_list.0.image"),
        ([FIXED], 422, "request"),
    ],
)
def test_a_correction_is_checked_as_an_enqueue(
    client: FlaskClient, refused: str, body: Any, status: int, field: str
) -> None:
    answer = client.post(f"/v1/jobs/{refused}/retry", json=body)

    assert (answer.status_code, field in answer.json["errors"]) == (status, True)
    assert client.get(f"/v1/jobs/{refused}").json["status"] == "failed"


def test_its_own_id_may_stand_in_the_body(client: FlaskClient, refused: str) -> None:
    answer = client.post(f"/v1/jobs/{refused}/retry", json=FIXED | {"external_task_id": refused})

    assert (answer.status_code, answer.json["revision"]) == (200, 2)


def test_the_first_request_is_still_the_same_job(client: FlaskClient, fox: dict[str, Any], refused: str) -> None:
    client.post(f"/v1/jobs/{refused}/retry", json=FIXED)

    for request, status in ((fox, 200), (FIXED, 200), (FIXED | {"prompt": "a third"}, 409)):
        assert client.post("/v1/jobs", json=request | {"external_task_id": refused}).status_code == status


def test_a_retry_without_a_body_sends_the_present_revision_again(
    client: FlaskClient, refused: str, store: Store
) -> None:
    client.post(f"/v1/jobs/{refused}/retry", json=FIXED)
    refuse(store)

    assert client.post(f"/v1/jobs/{refused}/retry").json["status"] == "queued"

    (claim,) = store.attempts.claim(store.attempts.admit(10).ids)
    assert claim.external_task_id.endswith("~3")
    assert '"prompt":"a calm fox"' in claim.text


def test_failures_are_filtered_counted_and_retried_by_class(client: FlaskClient, store: Store) -> None:
    lines = "".join(f'{{"model":"kirin_image_omni","prompt":"p{number}"}}\n' for number in range(4))
    client.post("/v1/batches?id=b", data=lines)
    for claim, code in zip(
        store.attempts.claim(store.attempts.admit(10).ids), ("1301", "1200", "odd", "1301"), strict=True
    ):
        error = {"code": code, "message": "no"}
        store.attempts.finish(claim.external_task_id, State.FAILED, Result(error=error), "submit")

    assert client.get("/v1/batches/b").json["classes"] == {"moderation": 2, "invalid": 1, "provider": 1}
    listed = client.get("/v1/jobs?class=moderation&class=provider").json["jobs"]
    assert sorted(each["id"] for each in listed) == ["b.1", "b.3", "b.4"]
    in_batch = client.get("/v1/jobs?batch=b&class=invalid").json["jobs"]
    assert [each["id"] for each in in_batch] == ["b.2"]
    assert client.get("/v1/jobs?status=queued&class=invalid").json["jobs"] == []
    rows = client.get("/v1/batches/b/results?class=provider&format=csv").text.splitlines()
    assert [row.split(",")[0] for row in rows] == ["id", "b.3"]
    assert client.get("/v1/jobs?class=bad").status_code == 422

    for query, affected in (("class=quota", 0), ("class=moderation&code=1200", 0), ("class=moderation", 2)):
        assert client.post(f"/v1/batches/b/retry?dry_run=true&{query}").json["affected"] == affected
        assert client.post(f"/v1/batches/b/retry?{query}").json["affected"] == affected
    assert client.get("/v1/batches/b").json["classes"] == {"invalid": 1, "provider": 1}
