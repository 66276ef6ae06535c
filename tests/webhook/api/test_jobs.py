import gzip
import json
import threading
import time
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.job import Delivery
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.jobs import JobList, JobView
from tests.support.producers import own
from tests.support.waiting import within
from tests.support.webhook_server import AtProvider, CallBack, Messages
from webhook.app import create_app
from webhook.places import WAITS
from webhook.services import Services
from webhook.settings import Settings


def test_a_job_is_recorded_and_a_hint_is_sent(
    client: FlaskClient, fox: dict[str, Any], store: Store, messages: Messages
) -> None:
    answer = client.post("/v1/jobs", json=fox | {"external_task_id": "fox", "n": 3, "labels": {"shop": "berlin"}})

    assert answer.status_code == 201
    assert answer.headers["Location"] == "/v1/jobs/fox"
    assert (answer.json["id"], answer.json["status"], answer.json["labels"]) == ("fox", "queued", {"shop": "berlin"})
    assert JobView().validate(json.loads(answer.text)) == {}
    job = store.jobs.get(own("fox"))
    assert (job.state, job.n, job.model) == (State.QUEUED, 3, "kirin_image_omni")
    assert messages("boomerang.submit") == [[]]


def test_an_id_is_generated_when_none_is_given(client: FlaskClient, fox: dict[str, Any], store: Store) -> None:
    first, second = (client.post("/v1/jobs", json=fox) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json["id"] < second.json["id"]
    assert store.jobs.get(own(first.json["id"])).state is State.QUEUED


def test_a_repeat_is_the_same_job_and_another_request_a_conflict(client: FlaskClient, fox: dict[str, Any]) -> None:
    request = fox | {"external_task_id": "fox"}
    client.post("/v1/jobs", json=request)

    again = client.post("/v1/jobs", json=dict(reversed(request.items())))
    other = client.post("/v1/jobs", json=request | {"prompt": "a hare"})

    assert (again.status_code, again.json["id"]) == (200, "fox")
    assert other.status_code == 409
    assert "use another id" in other.json["errors"]["external_task_id"][0]


def test_a_job_with_a_callback_url_owes_a_notification(
    client: FlaskClient, fox: dict[str, Any], call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    client.post("/v1/jobs", json=fox | {"external_task_id": "fox", "callback_url": "https://shop.example.com/hook"})
    store.attempts.admit(1)
    store.attempts.claim([own("fox")])
    call_back(own("fox"), completed)
    assert store.jobs.get(own("fox")).owed == {Delivery.NOTIFY}


def test_private_hosts_require_the_setting(fox: dict[str, Any], store: Store, client: FlaskClient) -> None:
    request = fox | {"callback_url": "http://127.0.0.1:8000/hook"}
    local = Settings(api_keys=("k",), allow_private_hosts=True)
    at_home = create_app(local, store, lambda *_: True).test_client()

    assert client.post("/v1/jobs", json=request).status_code == 422
    assert at_home.post("/v1/jobs", json=request, headers={"Authorization": "Bearer k"}).status_code == 201


@pytest.mark.parametrize(
    ("body", "status", "field", "code"),
    [
        pytest.param(b'{"model":"kirin_image_omni"}', 422, "prompt", "002016001", id="no prompt"),
        pytest.param(b'{"model":"kirin_image_omni","prompt":"x","n":12}', 422, "n", "002016003", id="n too large"),
        pytest.param(
            b'{"model":"kirin_image_omni","prompt":"x","promt":1}', 422, "promt", None, id="unknown parameter"
        ),
        pytest.param(b"[]", 422, "request", None, id="no object"),
        pytest.param(b'{"model":', 400, None, None, id="not JSON"),
        pytest.param(b'{"model":"a","model":"b"}', 400, None, None, id="a key twice"),
    ],
)
def test_an_invalid_request_is_explained_by_field(
    *, body: bytes, status: int, field: str | None, code: str | None, client: FlaskClient, store: Store
) -> None:
    answer = client.post("/v1/jobs", data=body)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert list(answer.json.get("errors", {})) == ([field] if field else [])
    assert answer.json.get("codes", []) == ([code] if code else [])
    assert store.jobs.page().jobs == ()


def unsaved(url: str) -> dict[str, Any]:
    """Return the view of an output that is at the provider only."""
    unknown = ("url_expires_at", "saved_at", "removed_at", "sha256", "size", "content_type", "width", "height")
    return {"type": "image", "url": url, "source_url": url, **dict.fromkeys(unknown)}


def test_a_completed_job_shows_its_result(
    client: FlaskClient, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any]
) -> None:
    at_provider("fox")
    call_back("fox", completed)

    view = json.loads(client.get("/v1/jobs/fox").text)

    assert JobView().validate(view) == {}
    assert view["output"][0].pop("expires_at") > view["finished_at"]
    assert view.pop("created_at") < view.pop("updated_at") == view.pop("finished_at")
    assert view == {
        "id": "fox",
        "status": "completed",
        "model": "kirin_image_omni",
        "output": [unsaved("https://cdn.example.com/1.png")],
        "saving": None,
        "error": None,
        "usage": {"cost": "0.0065", "discount": 1},
        "cost": "0.0065",
        "class": None,
        "attempt": 1,
        "revision": 1,
        "regenerates": None,
        "regenerated_by": None,
        "external_task_id": "fox",
        "provider_external_id": "fox",
        "settled_by": "callback",
        "batch": None,
        "owner": None,
        "labels": {"shop": "berlin"},
        "priority": "normal",
        "expires_at": None,
        "lane": "default",
        "reason": None,
        "unknown_cost": None,
        "warnings": [],
    }


def test_a_failed_job_shows_its_error(client: FlaskClient, at_provider: AtProvider, store: Store) -> None:
    at_provider("fox")
    store.attempts.finish("fox", State.FAILED, Result(error={"code": "002016001", "message": "prompt missing"}), "poll")

    view = json.loads(client.get("/v1/jobs/fox").text)

    assert JobView().validate(view) == {}
    assert (view["status"], view["error"]["code"], view["usage"]) == ("failed", "002016001", None)


@pytest.mark.parametrize(
    "path", ["/v1/jobs/missing", "/v1/batches/missing", "/v1/batches/missing/results", "/v1/nothing"]
)
def test_unknown_jobs_get_404(path: str, client: FlaskClient) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json["detail"]


def test_waiting_ends_with_the_job(
    app: Flask, client: FlaskClient, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any]
) -> None:
    at_provider("fox")
    answers: list[Any] = []
    headers = {"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}

    def wait() -> None:
        answers.append(app.test_client().get("/v1/jobs/fox?wait=30", headers=headers).json)

    waiting = threading.Thread(target=wait)
    with within(10):
        waiting.start()
        call_back("fox", completed)
        waiting.join(60)

    assert answers[0]["status"] == "completed"


def test_a_wait_that_times_out_shows_the_current_job(client: FlaskClient, at_provider: AtProvider) -> None:
    at_provider("fox")
    started = time.monotonic()
    answer = client.get("/v1/jobs/fox?wait=0.2")
    assert (answer.status_code, answer.json["status"]) == (200, "in_progress")
    assert time.monotonic() - started >= 0.2


def test_beyond_the_limit_of_waits_the_answer_comes_at_once(
    app: Flask, client: FlaskClient, at_provider: AtProvider
) -> None:
    at_provider("fox")
    shared: Services = app.extensions["boomerang"]
    (admin,) = shared.settings.keys
    assert all(shared.waits.take(admin.name, 1, lambda: None, lambda: False) for _ in range(WAITS))

    answer = client.get("/v1/jobs/fox?wait=30")

    assert (answer.status_code, answer.json["status"], answer.headers["Retry-After"]) == (200, "in_progress", "1")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("/v1/jobs/fox?wait=61", "wait"),
        ("/v1/jobs/fox?wait=-1", "wait"),
        ("/v1/jobs/fox?wait=nan", "wait"),
        ("/v1/jobs/fox?wait=soon", "wait"),
        ("/v1/jobs/fox?wiat=1", "wiat"),
        ("/v1/jobs?status=done", "status"),
        ("/v1/jobs?limit=501", "limit"),
        ("/v1/jobs?limit=0", "limit"),
        ("/v1/jobs?batch=%2F", "batch"),
        ("/v1/jobs?cursor=abc", "cursor"),
        ("/v1/jobs?cursor=1e5", "cursor"),
        ("/v1/jobs?cursor=" + "9" * 30, "cursor"),
        ("/v1/jobs?batch=b&cursor=-1", "cursor"),
        ("/v1/jobs?cursor=", "cursor"),
    ],
)
def test_an_invalid_query_gets_422(query: str, field: str, client: FlaskClient) -> None:
    answer = client.get(query)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == [field]


def test_listing_pages_through_all_newest_first(client: FlaskClient, fox: dict[str, Any]) -> None:
    for number in range(5):
        client.post("/v1/jobs", json=fox | {"external_task_id": f"fox{number}"})

    pages: list[list[str]] = []
    cursor: Any = ""
    while cursor is not None:
        page = json.loads(client.get("/v1/jobs?limit=2" + (f"&cursor={cursor}" if cursor else "")).text)
        assert JobList().validate(page) == {}
        pages.append([job["id"] for job in page["jobs"]])
        cursor = page["cursor"]

    assert pages == [["fox4", "fox3"], ["fox2", "fox1"], ["fox0"]]


def test_listing_by_state_and_batch(
    client: FlaskClient, fox: dict[str, Any], at_provider: AtProvider, store: Store
) -> None:
    at_provider("lone")
    client.post("/v1/batches?id=b", data=b'{"model":"kirin_image_omni","prompt":"x"}\n' * 3)

    def ids(query: str) -> list[str]:
        return [job["id"] for job in client.get(f"/v1/jobs?{query}").json["jobs"]]

    assert ids("status=in_progress") == ["lone"]
    assert ids("batch=b") == ["b.1", "b.2", "b.3"]
    assert ids("batch=b&status=queued") == ["b.1", "b.2", "b.3"]
    assert ids("batch=b&status=failed") == []
    assert ids("batch=unknown") == []


def test_a_job_is_cancelled_and_retried_if_its_state_allows_it(
    client: FlaskClient,
    fox: dict[str, Any],
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
) -> None:
    client.post("/v1/jobs", json=fox | {"external_task_id": "fox"})

    assert client.post("/v1/jobs/fox/cancel").json["status"] == "cancelled"
    assert client.post("/v1/jobs/fox/cancel").status_code == 200
    assert client.post("/v1/jobs/fox/retry").json["status"] == "queued"
    assert client.post("/v1/jobs/missing/cancel").status_code == 404
    assert client.post("/v1/jobs/missing/retry").status_code == 404


def test_a_forbidden_action_gets_409_with_a_reason(
    client: FlaskClient, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any]
) -> None:
    at_provider("fox")
    call_back("fox", completed)
    at_provider("hare")
    client.post("/v1/jobs/hare/cancel")

    for path in ("/v1/jobs/fox/cancel", "/v1/jobs/fox/retry", "/v1/jobs/hare/retry"):
        answer = client.post(path)
        assert answer.status_code == 409, path
        assert answer.json["detail"]


def test_without_redis_a_request_gets_503(settings: Settings, fox: dict[str, Any], client: FlaskClient) -> None:
    away = Settings(**{**vars(settings), "redis_url": "redis://127.0.0.1:1/0"})
    producer = create_app(away).test_client()
    producer.environ_base["HTTP_AUTHORIZATION"] = client.environ_base["HTTP_AUTHORIZATION"]

    answer = producer.post("/v1/jobs", json=fox)

    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.headers["Retry-After"]
    assert "repeats are safe" in answer.json["detail"]


def test_a_queued_job_can_be_paused_and_resumed(client: FlaskClient, fox: dict[str, Any], store: Store) -> None:
    client.post("/v1/jobs", json=fox | {"external_task_id": "fox"})

    paused = client.post("/v1/jobs/fox/pause")

    assert (paused.status_code, paused.json["status"], paused.json["reason"]) == (200, "queued", "paused on request")
    assert store.attempts.admit(1).ids == ()
    assert client.post("/v1/jobs/fox/resume").json["reason"] is None
    assert store.attempts.admit(1).ids == (own("fox"),)
    store.attempts.claim([own("fox")])
    refused = client.post("/v1/jobs/fox/pause")
    assert (refused.status_code, "cancel it" in refused.json["detail"]) == (409, True)
    assert client.post("/v1/jobs/nobodys/pause").status_code == 404


@pytest.mark.parametrize("path", ["/v1/jobs", "/model/v1/generation"])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "identity"])
def test_a_job_may_be_compressed(path: str, encoding: str, client: FlaskClient, fox: dict[str, Any]) -> None:
    body = json.dumps(fox).encode()
    packed = body if encoding == "identity" else gzip.compress(body)

    answer = client.post(path, data=packed, headers={"Content-Encoding": encoding})

    assert answer.status_code in (200, 201)


@pytest.mark.parametrize("path", ["/v1/jobs", "/model/v1/generation", "/v1/images"])
@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param("br", b"x", 415, id="brotli"),
        pytest.param("deflate", b"x", 415, id="deflate"),
        pytest.param("gzip, gzip", b"x", 415, id="twice"),
        pytest.param("gzip", b"{}", 400, id="not gzip"),
        pytest.param("gzip", gzip.compress(b'{"model":"x"}' * 99)[:40], 400, id="cut off"),
        pytest.param("gzip", gzip.compress(bytes(200_000_000), 1), 413, id="a bomb"),
    ],
)
def test_a_body_that_cannot_be_decoded_is_refused(
    path: str, encoding: str, body: bytes, status: int, client: FlaskClient
) -> None:
    answer = client.post(path, data=body, headers={"Content-Encoding": encoding})

    assert answer.status_code == status
