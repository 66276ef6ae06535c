"""The lists /v1/jobs and /v1/batches, and the options of a batch's first upload."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.audit.audit import audit
from jobs.job import Priority
from jobs.new_job import BatchOptions, NewJob
from jobs.store.store import Store
from schemas.views.batches import BatchList, BatchView
from schemas.views.jobs import JobList
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'
BERLIN = b'{"model":"kirin_image_omni","prompt":"a fox","labels":{"shop":"berlin"}}\n'
OPTIONS = "label=season=spring&label=of=all&priority=low&weight=7&max_cost=12.50"


def ids(answer: Any, of: str = "jobs") -> Sequence[str]:
    return [each["id"] for each in answer.json[of]]


def test_jobs_are_filtered_by_label_state_batch_and_time(client: FlaskClient, store: Store) -> None:
    client.post("/v1/batches?id=a&label=season=spring", data=BERLIN + LINE + BERLIN)
    client.post("/v1/batches?id=b", data=BERLIN)
    store.jobs.cancel(own("a.1"))

    def listed(query: str) -> Sequence[str]:
        answer = client.get(f"/v1/jobs?{query}")
        assert JobList().validate(json.loads(answer.text)) == {}
        return ids(answer)

    assert listed("label=shop=berlin") == ["b.1", "a.3", "a.1"]
    assert listed("label=shop=berlin&status=queued") == ["b.1", "a.3"]
    assert listed("label=shop=berlin&batch=a") == ["a.1", "a.3"]
    assert listed("label=shop=berlin&label=other=x") == []
    # A batch's labels do not apply to its jobs
    assert listed("label=season=spring") == []
    created = client.get("/v1/jobs/b.1").json["created_at"].replace("+", "%2B")
    assert listed(f"label=shop=berlin&created_before={created}") == ["a.3", "a.1"]
    assert listed(f"created_after={created}") == ["b.1"]
    assert listed("batch=a&created_before=2020-01-01") == []

    first = client.get("/v1/jobs?label=shop=berlin&limit=2")
    assert ids(first) == ["b.1", "a.3"]
    assert listed(f"label=shop=berlin&limit=2&cursor={first.json['cursor']}") == ["a.1"]


def test_batches_are_filtered_by_label_state_and_time(client: FlaskClient, store: Store) -> None:
    for name, season in (("a", "spring"), ("b", "autumn"), ("c", "spring")):
        client.post(f"/v1/batches?id={name}&label=season={season}", data=LINE)
    client.post("/v1/batches/a/cancel")
    client.post("/v1/batches/b/pause")

    def listed(query: str) -> Sequence[str]:
        answer = client.get(f"/v1/batches?{query}")
        assert BatchList().validate(json.loads(answer.text)) == {}
        return ids(answer, "batches")

    assert listed("") == ["c", "b", "a"]
    assert listed("label=season=spring") == ["c", "a"]
    assert [listed(f"status={each}") for each in ("running", "paused", "done")] == [["c"], ["b"], ["a"]]
    assert listed("label=season=spring&status=done") == ["a"]
    created = client.get("/v1/batches/b").json["created_at"].replace("+", "%2B")
    assert listed(f"created_after={created}") == ["c", "b"]
    assert listed(f"created_before={created}") == ["a"]
    first = client.get("/v1/batches?limit=2")
    assert listed(f"limit=2&cursor={first.json['cursor']}") == ["a"]
    assert client.get("/v1/batches").json["batches"][2] == client.get("/v1/batches/a").json


def test_batches_are_filtered_by_producer(store: Store) -> None:
    ring = KeyRing(store.context.client, store.context.keys)
    app = create_app(Settings(), store, lambda *_: True)

    def found(name: str, *scopes: Scope, query: str) -> list[str]:
        header = {"Authorization": f"Bearer {ring.add(name, scopes)[1]}"}
        answer = app.test_client().get(f"/v1/batches{query}", headers=header)
        assert answer.status_code == 200
        return [f"{batch['id']}@{batch['owner']}" for batch in answer.json["batches"]]

    for name in ("shop", "press"):
        job = NewJob(id=f"a@{name}", text="{}", model="kirin_image_omni", owner=name)
        store.jobs.enqueue([job], f"foxes@{name}", BatchOptions(owner=name))
    assert found("boss", Scope.ADMIN, query="?producer=shop") == ["foxes@shop"]
    assert found("boss", Scope.ADMIN, query="?producer=unknown") == []
    assert found("boss", Scope.ADMIN, query="") == ["foxes@press", "foxes@shop"]
    assert found("shop", Scope.READ, query="?producer=shop") == ["foxes@shop"]
    assert found("shop", Scope.READ, query="?producer=press") == []


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("label=shop", "label"),
        ("label=a b=c", "label"),
        ("created_after=soon", "created_after"),
        ("created_before=2026-13-01", "created_before"),
        ("cursor=abc", "cursor"),
        ("limit=0", "limit"),
        ("status=lost", "status"),
        ("labels=a=b", "labels"),
    ],
)
def test_an_invalid_query_is_refused_by_field(path: str, query: str, field: str, client: FlaskClient) -> None:
    answer = client.get(f"{path}?{query}")
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
    assert all(isinstance(text, str) for text in answer.json["errors"][field])


# --- options of the first upload --------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["skip", "abort"])
def test_a_batch_keeps_the_options_of_its_first_upload(on_error: str, client: FlaskClient, store: Store) -> None:
    answer = client.post(f"/v1/batches?id=b&on_error={on_error}&{OPTIONS}", data=LINE * 2)
    assert answer.status_code == 201
    view = json.loads(client.get("/v1/batches/b").text)
    assert BatchView().validate(view) == {}
    assert {name: view[name] for name in ("labels", "priority", "weight", "max_cost")} == {
        "labels": {"season": "spring", "of": "all"}, "priority": "low", "weight": 7, "max_cost": "12.5"
    }  # fmt: skip
    assert store.jobs.get(own("b.1")).priority is Priority.LOW
    # A repeat with the same options or with fewer adds nothing
    for query in (OPTIONS, "", "weight=7", "max_cost=12.5"):
        again = client.post(f"/v1/batches?id=b&on_error={on_error}&{query}", data=LINE * 2)
        assert (again.status_code, again.json["known"]) == (201, 2), query
    assert audit(store) == []


def test_a_batch_without_options_has_defaults(client: FlaskClient) -> None:
    client.post("/v1/batches?id=b", data=LINE)
    view = json.loads(client.get("/v1/batches/b").text)
    assert (view["labels"], view["priority"], view["weight"], view["max_cost"]) == ({}, "normal", 1, None)
    assert client.post("/v1/batches?id=b&priority=normal&weight=1", data=LINE).status_code == 201


@pytest.mark.parametrize("on_error", ["skip", "abort"])
@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ("label=season=autumn&label=of=all", "label", "of=all, season=spring"),
        ("label=season=spring", "label", "of=all, season=spring"),
        ("priority=high", "priority", "low"),
        ("weight=1", "weight", "7"),
        ("max_cost=13", "max_cost", "12.5"),
    ],
)
def test_later_uploads_cannot_change_the_options(
    *, query: str, field: str, value: str, on_error: str, client: FlaskClient, store: Store
) -> None:
    client.post(f"/v1/batches?id=b&{OPTIONS}", data=LINE)
    answer = client.post(f"/v1/batches?id=b&on_error={on_error}&{query}", data=LINE * 2)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert list(answer.json["errors"]) == [field]
    assert f"is {value} since the first upload" in answer.json["errors"][field][0]
    assert store.batches.get(own("b")).accepted == 1


def test_an_idempotency_key_covers_the_options(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "spring catalogue"}
    assert client.post(f"/v1/batches?{OPTIONS}", data=LINE, headers=key).status_code == 201
    again, other = (
        client.post(f"/v1/batches?{query}", data=LINE, headers=key) for query in (OPTIONS, "label=season=autumn")
    )
    assert (again.status_code, again.json["known"]) == (201, 1)
    assert (other.status_code, list(other.json["errors"])) == (422, ["label"])


def test_max_cost_is_rounded_to_nine_decimals(client: FlaskClient) -> None:
    for _ in range(2):
        assert client.post("/v1/batches?id=b&max_cost=0.12345678949", data=LINE).status_code == 201
    assert client.get("/v1/batches/b").json["max_cost"] == "0.123456789"


@pytest.mark.parametrize("query", ["weight=0", "weight=x", "priority=urgent", "max_cost=-1", "label=a", "max_cost=x"])
def test_invalid_options_are_refused(query: str, client: FlaskClient) -> None:
    answer = client.post(f"/v1/batches?id=b&{query}", data=LINE)
    assert (answer.status_code, list(answer.json["errors"])) == (422, [query.partition("=")[0]])
    assert client.get("/v1/batches/b").status_code == 404


def test_jobs_and_batches_record_their_owner(store: Store, fox: dict[str, Any], settings: Settings) -> None:
    app = create_app(Settings(**{**vars(settings), "api_keys": ("shop:one", "press:two")}), store, lambda *_: True)
    shop, press = (
        lambda path, *, key=key, **options: app.test_client().post(
            path, headers={"Authorization": f"Bearer {key}"}, **options
        )
        for key in ("one", "two")
    )
    make: Callable[..., Any] = shop
    assert make("/v1/jobs", json=fox | {"external_task_id": "a"}).status_code == 201
    assert press("/model/v1/generation", json=fox | {"external_task_id": "b"}).status_code == 200
    assert press("/v1/batches?id=c", data=LINE).status_code == 201
    assert shop("/v1/batches?id=d&on_error=abort", data=LINE).status_code == 201
    assert [store.jobs.get(own(*each)).owner for each in (("a", "shop"), ("b", "press"))] == ["shop", "press"]
    assert [store.batches.get(own(*each)).owner for each in (("c", "press"), ("d", "shop"))] == ["press", "shop"]
    assert store.batches.options(own("d", "shop")) == BatchOptions(owner="shop")


def test_search_finds_a_job_by_its_exact_id_only(client: FlaskClient) -> None:
    for name in ("fox", "fox2"):
        client.post("/v1/jobs", json={"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": name})

    assert [each["id"] for each in client.get("/v1/jobs?search=fox").json["jobs"]] == ["fox"]
    assert client.get("/v1/jobs?search=fo").json == {"jobs": [], "cursor": None}
    assert client.get("/v1/jobs?search=").status_code == 422
