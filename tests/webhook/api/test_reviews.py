"""`PUT /v1/jobs/<id>/outputs/<index>/review`, and what selects and shows reviews."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.jobs import JobView
from tests.support.producers import BOSS

LINE = b'{"model":"kirin_image_omni","prompt":"a fox","n":2}\n'


@pytest.fixture
def foxes(client: FlaskClient, store: Store) -> Store:
    """A batch of four jobs, three of them completed with two images each."""
    client.post("/v1/batches?id=foxes", data=LINE * 4)
    output = tuple({"type": "image", "url": f"https://cdn.example.com/{each}.png"} for each in range(2))
    for claim in store.attempts.claim(store.attempts.admit(3).ids):
        store.attempts.finish(claim.external_task_id, State.COMPLETED, Result(output=output, cost=Decimal(1)), "poll")
    return store


def put(client: FlaskClient, job: int, output: int, body: Any) -> Any:
    return client.put(f"/v1/jobs/foxes.{job}/outputs/{output}/review", json=body)


def selected(client: FlaskClient, query: str) -> list[str]:
    answer = client.get(f"/v1/batches/foxes/results?{query}")
    assert answer.status_code == 200
    return [json.loads(line)["id"] for line in answer.text.splitlines()]


def test_a_review_is_in_the_views_the_counts_and_the_audit_log(
    client: FlaskClient, foxes: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "boomerang.audit")
    answer = put(client, 2, 1, {"verdict": "rejected", "note": "a <b>paw</b> too many\n=1+1"})
    assert answer.status_code == 200
    assert JobView().validate(json.loads(answer.text)) == {}
    (review,) = answer.json["reviews"]
    assert (review["output"], review["verdict"], review["starred"], review["by"][:4]) == (1, "rejected", False, "env-")
    assert client.get("/v1/jobs/foxes.2?include=reviews").json["reviews"] == [review]
    assert "reviews" not in client.get("/v1/jobs/foxes.2").json
    assert client.get("/v1/batches/foxes").json["reviews"] == {"accepted": 0, "rejected": 1, "starred": 0}
    assert any(
        "reviews.put" in each.getMessage() and "verdict=rejected" in each.getMessage() for each in caplog.records
    )
    assert "paw" not in caplog.text


def test_results_are_selected_by_reviews(client: FlaskClient, foxes: Store) -> None:
    put(client, 3, 0, {"verdict": "accepted", "starred": True})
    put(client, 1, 0, {"verdict": "accepted"})
    put(client, 1, 1, {"verdict": "rejected"})
    assert selected(client, "review=accepted") == ["foxes.1", "foxes.3"]
    assert selected(client, "review=starred&review=rejected") == ["foxes.1", "foxes.3"]
    assert selected(client, "review=unreviewed") == ["foxes.2", "foxes.3"]
    assert selected(client, "review=accepted&status=failed") == []
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/batches/foxes/results?format=csv&include=reviews").text)))
    assert [(row["verdicts"], row["starred"]) for row in rows] == [
        ("accepted rejected", "no no"),
        ("", ""),
        ("accepted none", "yes no"),
        ("", ""),
    ]
    assert "verdicts" not in client.get("/v1/batches/foxes/results?format=csv").text.splitlines()[0]
    assert client.get("/v1/batches/foxes/results?review=good").status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"verdict": "good"}, 422, "verdict"),
        ({"starred": "yes"}, 422, "starred"),
        ({"note": "n" * 301}, 422, "note"),
        ({"note": 7}, 422, "note"),
        ({"rating": 5}, 422, "rating"),
        ([], 422, None),
        ({"verdict": "accepted", "note": "n" * 9000}, 413, None),
    ],
)
def test_a_bad_review_changes_nothing(client: FlaskClient, foxes: Store, body: Any, status: int, field: Any) -> None:
    answer = put(client, 1, 0, body)
    assert answer.status_code == status
    assert field is None or field in answer.json["errors"]
    assert foxes.reviews.of([foxes.jobs.find("foxes.1", BOSS) or ""]) == [{}]


@pytest.mark.parametrize(
    ("job", "output", "status"), [(1, "2", 409), (1, "x", 404), (1, "01", 404), (4, "0", 409), (9, "0", 404)]
)
def test_what_does_not_exist_has_no_review(
    client: FlaskClient, foxes: Store, job: int, output: str, status: int
) -> None:
    answer = client.put(f"/v1/jobs/foxes.{job}/outputs/{output}/review", json={"starred": True})
    assert answer.status_code == status
