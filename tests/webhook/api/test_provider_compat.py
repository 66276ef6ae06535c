"""The provider's contract as the service offers it: every answer that a program written for that API may get."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas import CallbackForm, GenerationRequest
from schemas.views.provider_compat import TaskAccepted, TaskRefused, TaskView
from tests.support.producers import own
from tests.support.webhook_server import AtProvider, CallBack, Messages
from webhook.app import create_app
from webhook.settings import Settings

SUBMIT, TASK = "/model/v1/generation", "/model/v1/generation/task/"
MODEL = "kirin_image_omni"


def wrapped(**params: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": [{"params": {"prompt": "a fox in the snow", **params}}]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(wrapped(external_task_id="fox", n=2), id="wrapped"),
        pytest.param({"model": MODEL, "prompt": "a fox in the snow", "external_task_id": "fox", "n": 2}, id="flat"),
    ],
)
def test_a_submission_is_recorded_and_answered_as_the_provider_does(
    body: dict[str, Any], client: FlaskClient, store: Store, messages: Messages
) -> None:
    answer = client.post(SUBMIT, json=body)

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert TaskAccepted().validate(json.loads(answer.text)) == {}
    accepted = json.loads(answer.text)
    created = accepted.pop("created_at")
    assert accepted == {"id": "fox", "status": "in_progress", "model": MODEL}
    job = store.jobs.get(own("fox"), text=True)
    assert (job.state, job.n, job.text) == (
        State.QUEUED, 2, '{"model":"kirin_image_omni","params":{"n":2,"prompt":"a fox in the snow"}}'
    )  # fmt: skip
    assert abs(created - job.created_at.timestamp()) < 60
    assert messages("boomerang.submit") == [[]]


def test_an_id_is_generated_when_none_is_given(client: FlaskClient, store: Store) -> None:
    first, second = (client.post(SUBMIT, json=wrapped()).json["id"] for _ in range(2))
    assert first != second
    assert store.jobs.get(own(first)).state is store.jobs.get(own(second)).state is State.QUEUED


def test_a_repeat_through_either_contract_is_the_same_task(client: FlaskClient, fox: dict[str, Any]) -> None:
    first = client.post(SUBMIT, json=wrapped(external_task_id="fox"))
    again = client.post(SUBMIT, json=wrapped(external_task_id="fox"))
    other_contract = client.post("/v1/jobs", json=fox | {"external_task_id": "fox"})
    assert (first.status_code, again.status_code, other_contract.status_code) == (200, 200, 200)
    assert first.json["id"] == again.json["id"] == other_contract.json["id"] == "fox"


def test_another_request_under_the_id_gets_the_providers_conflict(client: FlaskClient, store: Store) -> None:
    client.post(SUBMIT, json=wrapped(external_task_id="fox"))
    answer = client.post(SUBMIT, json=wrapped(external_task_id="fox", n=2))
    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "1201"
    assert "external_task_id: fox " in answer.json["error"]["message"]
    assert store.jobs.get(own("fox")).n == 1


def test_the_record_keeps_the_form_of_the_notification(client: FlaskClient, fox: dict[str, Any], store: Store) -> None:
    hook = {"callback_url": "https://shop.example.com/hook"}
    client.post(SUBMIT, json=wrapped(external_task_id="theirs", **hook))
    client.post("/v1/jobs", json=fox | hook | {"external_task_id": "ours"})

    forms = {
        name: GenerationRequest.from_text(store.jobs.get(own(name), text=True).text or "")
        for name in ("theirs", "ours")
    }

    assert forms["theirs"].callback_form is CallbackForm.TASK
    assert forms["ours"].callback_form is CallbackForm.JOB
    # The notifications differ, so these are different requests
    assert client.post("/v1/jobs", json=fox | hook | {"external_task_id": "theirs"}).status_code == 409


REFUSED = [
    pytest.param(wrapped(prompt=" "), 400, "002016001", "prompt", id="blank prompt"),
    pytest.param({"model": MODEL, "input": [{"params": {}}]}, 400, "002016001", "prompt", id="no prompt"),
    pytest.param(wrapped(prompt="a" * 2501), 400, "002016002", "prompt", id="long prompt"),
    pytest.param(wrapped(n=10), 400, "002016003", "n", id="n"),
    pytest.param(wrapped(promt="x"), 400, "1201", "promt", id="unknown parameter"),
    pytest.param(wrapped(external_task_id="a~2"), 400, "1201", "external_task_id", id="reserved id"),
    pytest.param(wrapped(callback_url="http://127.0.0.1/"), 400, "1201", "callback_url", id="private callback_url"),
    pytest.param(wrapped() | {"model": "kirin"}, 400, "1201", "model", id="unknown model"),
    pytest.param({"input": wrapped()["input"]}, 400, "1201", "model", id="no model"),
    pytest.param(wrapped() | {"n": 2}, 400, "1201", "n", id="a parameter beside the envelope"),
    pytest.param({"model": MODEL, "input": []}, 400, "1201", "input", id="empty envelope"),
    pytest.param({"model": MODEL, "input": {"params": {}}}, 400, "1201", "input", id="no list"),
    pytest.param(
        {"model": MODEL, "input": wrapped()["input"] * 2}, 400, "1201", "input", id="two requests in an envelope"
    ),
    pytest.param({"model": MODEL, "input": [{"params": {"model": MODEL}}]}, 400, "1201", "input", id="model inside"),
    pytest.param([], 400, "1201", "request", id="no object"),
    pytest.param(b"{", 400, "1200", "", id="no JSON"),
    pytest.param(b'{"model":"a","model":"b"}', 400, "1200", "", id="a key twice"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED)
def test_an_invalid_request_is_refused_in_the_gateways_form(
    *, body: Any, status: int, code: str, field: str, client: FlaskClient, store: Store
) -> None:
    answer = client.post(SUBMIT, data=body if isinstance(body, bytes) else json.dumps(body))

    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert TaskRefused().validate(json.loads(answer.text)) == {}
    assert answer.json["error"]["code"] == code
    assert field in answer.json["error"]["message"]
    # The provider's two documentation pages name the text differently
    assert answer.json["error"]["error_message"] == answer.json["error"]["message"]
    assert store.jobs.page().jobs == ()


def test_the_message_about_many_mistakes_is_bounded(client: FlaskClient) -> None:
    answer = client.post(SUBMIT, json=wrapped(**{f"x{number}": 1 for number in range(15)}))
    assert len(answer.json["error"]["message"]) < 5_000
    assert "and 5 more" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", TASK + "absent", 404, "1203", id="no such task"),
        pytest.param("GET", TASK + "~2", 404, "1203", id="an attempt of nothing"),
        pytest.param("GET", "/model/v1/nothing", 404, "1203", id="no such address"),
        pytest.param("GET", SUBMIT, 405, "1200", id="no such method"),
    ],
)
def test_unknown_addresses_and_tasks_get_the_providers_error(
    *, method: str, path: str, status: int, code: str, client: FlaskClient
) -> None:
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert TaskRefused().validate(json.loads(answer.text)) == {}


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic b25l"])
@pytest.mark.parametrize(("method", "path"), [("POST", SUBMIT), ("GET", TASK + "fox"), ("GET", "/model/v1/nothing")])
def test_a_request_without_a_valid_key_gets_401(header: str | None, method: str, path: str, app: Flask) -> None:
    headers = {"Authorization": header} if header else {}
    answer = app.test_client().open(path, method=method, json=wrapped() if method == "POST" else None, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "1000")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_without_the_store_a_request_gets_503_and_retry_after(settings: Settings) -> None:
    unreachable = Settings(
        redis_url="redis://127.0.0.1:1/0", broker_url=settings.broker_url, admin_keys=settings.admin_keys
    )
    headers = {"Authorization": f"Bearer {settings.admin_keys[0].partition(':')[2]}"}
    anyone = create_app(unreachable, send=lambda *_: True).test_client()
    for answer in (anyone.post(SUBMIT, json=wrapped(), headers=headers), anyone.get(TASK + "fox", headers=headers)):
        assert (answer.status_code, answer.json["error"]["code"]) == (503, "5001")
        assert answer.headers["Retry-After"] == "5"


def test_errors_at_other_addresses_keep_their_form(client: FlaskClient) -> None:
    assert client.get("/v1/jobs/absent").content_type == "application/problem+json"
    assert client.get("/model/v2").content_type == "application/problem+json"


def test_a_task_is_in_progress_and_then_completed(
    client: FlaskClient, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any]
) -> None:
    client.post(SUBMIT, json=wrapped(external_task_id="fox"))
    before = client.get(TASK + "fox").json
    assert before == {"id": "fox", "status": "in_progress", "model": MODEL, "progress": 0.0}
    assert TaskView().validate(before) == {}

    at_provider("hare")
    assert client.get(TASK + "hare").json["status"] == "in_progress"
    call_back("hare", completed)
    after = client.get(TASK + "hare")
    assert TaskView().validate(json.loads(after.text)) == {}
    assert after.headers["Cache-Control"] == "no-store"
    assert after.json == {
        "id": "hare",
        "status": "completed",
        "model": MODEL,
        "output": [
            {"content": [{"type": "image", "url": "https://cdn.example.com/1.png", "jobId": "task-hare"}]},
        ],
        "usage": {"cost": "0.0065", "discount": 1},
        "metadata": {},
    }


def test_the_ids_of_attempts_find_their_task(client: FlaskClient, at_provider: AtProvider, store: Store) -> None:
    at_provider("fox")
    store.attempts.finish("fox", State.FAILED, Result(error={"code": "002016095", "message": "again"}), "poll")
    assert store.jobs.get("fox").attempt == 2

    for name in ("fox", "fox~2"):
        assert client.get(TASK + name).json == {"id": "fox", "status": "in_progress", "model": MODEL, "progress": 0.0}
    # Attempts that do not exist, and numbers in another notation
    for name in ("fox~3", "fox~1", "fox~02", "fox~"):
        assert client.get(TASK + name).status_code == 404, name


def test_failed_and_cancelled_tasks_are_shown_as_failed(
    client: FlaskClient, at_provider: AtProvider, store: Store
) -> None:
    at_provider("fox")
    store.attempts.finish("fox", State.FAILED, Result(error={"code": "1301", "message": "refused"}), "poll")
    client.post(SUBMIT, json=wrapped(external_task_id="hare"))
    store.jobs.cancel(own("hare"))

    failed, cancelled = (json.loads(client.get(TASK + name).text) for name in ("fox", "hare"))

    assert TaskView().validate(failed) == TaskView().validate(cancelled) == {}
    assert (failed["status"], failed["error"]["code"], failed["usage"]) == ("failed", "1301", {"cost": ""})
    assert (cancelled["status"], cancelled["error"]["code"]) == ("failed", "cancelled")


def test_the_contract_has_its_tag_in_the_document(client: FlaskClient) -> None:
    document = client.get("/openapi.json").json
    submit = document["paths"][SUBMIT]["post"]
    assert submit["tags"] == document["paths"][TASK + "{task_id}"]["get"]["tags"] == ["generation"]
    (schema,) = (content["schema"] for content in submit["requestBody"]["content"].values())
    assert [each.get("$ref", "wrapped") for each in schema["anyOf"]] == [
        "wrapped", "#/components/schemas/GenerationRequest"
    ]  # fmt: skip
    for status in ("400", "401", "409"):
        (form,) = (content["schema"]["$ref"] for content in submit["responses"][status]["content"].values())
        assert form == "#/components/schemas/TaskRefused"
