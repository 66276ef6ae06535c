"""`POST /v1/jobs/<id>/regenerate`: the images of a completed job once more."""

from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.job import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.jobs import JobView
from webhook.api.regenerate import next_id

LINE = b'{"model":"kirin_image_omni","prompt":"a fox","labels":{"shop":"berlin"}}\n'


@pytest.fixture
def fox(client: FlaskClient, store: Store) -> str:
    """The id of a completed job in the batch `foxes`."""
    client.post("/v1/batches?id=foxes", data=LINE)
    complete(store)
    return "foxes.1"


def complete(store: Store) -> None:
    (claim,) = store.attempts.claim(store.attempts.admit(1).ids)
    output = ({"type": "image", "url": "https://cdn.example.com/1.png"},)
    result = Result(output=output, cost=Decimal("0.25"))
    store.attempts.finish(claim.external_task_id, State.COMPLETED, result, "poll")


def test_the_answer_is_a_new_job_with_the_same_request(client: FlaskClient, fox: str, store: Store) -> None:
    answer = client.post(f"/v1/jobs/{fox}/regenerate")

    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/jobs/foxes.1.r2")
    view: Any = answer.json
    assert (view["id"], view["status"], view["batch"], view["regenerates"]) == ("foxes.1.r2", "queued", "foxes", fox)
    assert JobView().validate(dict(view)) == {}
    assert view["labels"] == {"shop": "berlin"}
    before = client.get(f"/v1/jobs/{fox}").json
    assert (before["status"], before["regenerated_by"], len(before["output"])) == ("completed", "foxes.1.r2", 1)
    again = client.post(f"/v1/jobs/{fox}/regenerate")
    assert (again.status_code, again.json["id"]) == (200, "foxes.1.r2")
    assert client.get("/v1/batches/foxes").json["accepted"] == 2
    complete(store)
    assert client.get("/v1/batches/foxes").json["cost"] == "0.5"


def test_a_request_in_the_body_is_generated_instead(client: FlaskClient, fox: str, store: Store) -> None:
    body: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a calm fox", "external_task_id": "calm"}
    answer = client.post(f"/v1/jobs/{fox}/regenerate", json=body)
    assert (answer.status_code, answer.json["id"]) == (201, "calm")
    other = client.post(f"/v1/jobs/{fox}/regenerate", json=body | {"prompt": "another"})
    assert other.status_code == 409
    assert "calm" in other.json["detail"]
    assert client.post(f"/v1/jobs/{fox}/regenerate", json={"model": "kirin_image_omni"}).status_code == 422


def test_a_retry_names_the_way_and_buys_nothing(client: FlaskClient, fox: str, store: Store) -> None:
    for body in (None, {"model": "kirin_image_omni", "prompt": "a calm fox"}):
        answer = client.post(f"/v1/jobs/{fox}/retry", json=body) if body else client.post(f"/v1/jobs/{fox}/retry")
        assert answer.status_code == 409
        assert "regenerate" in answer.json["detail"]
    assert client.get("/v1/batches/foxes").json["accepted"] == 1
    waiting = client.post("/v1/jobs", json={"model": "kirin_image_omni", "prompt": "an owl"}).json["id"]
    assert client.post(f"/v1/jobs/{waiting}/regenerate").status_code == 409
    assert client.post("/v1/jobs/nobody/regenerate").status_code == 404


@pytest.mark.parametrize(
    ("given", "expected"),
    [("fox", "fox.r2"), ("fox.r2", "fox.r3"), ("fox.r0", "fox.r0.r2"), ("a.r9.r10", "a.r9.r11"), (".r2", ".r2.r2")],
)
def test_ids_are_numbered(given: str, expected: str) -> None:
    assert next_id(given) == expected


def test_a_long_id_still_has_a_successor() -> None:
    assert len(next_id("x" * 128)) <= 128
