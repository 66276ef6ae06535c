"""BOOMERANG_UNKNOWN_PARAMETERS at the webhook's entry points."""

import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.choices import UnknownParameters
from jobs.store.store import Store
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

NEW = {"element_list": [{"element_id": 17}], "result_type": "series"}
PRODUCER = {"Authorization": "Bearer a-producers-own-key-1"}


@pytest.fixture
def passing(settings: Settings, store: Store) -> FlaskClient:
    settings = replace(settings, unknown_parameters=UnknownParameters.PASS, api_keys=("shop:a-producers-own-key-1",))
    client = create_app(settings, store).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = PRODUCER["Authorization"]
    return client


def params(store: Store, job_id: str) -> Any:
    return json.loads(store.jobs.get(own(job_id, "shop"), text=True).text or "")["params"]


def test_every_entry_point_passes_them(passing: FlaskClient, fox: dict[str, Any], store: Store) -> None:
    one = passing.post("/v1/jobs", json=fox | NEW | {"external_task_id": "one"})
    lines = json.dumps(fox | NEW | {"external_task_id": "two"}) + "\n"
    batch = passing.post("/v1/batches", data=lines)
    wrapped = {"model": fox["model"], "input": [{"params": {"prompt": "a", **NEW, "external_task_id": "three"}}]}
    compat = passing.post("/model/v1/generation", json=wrapped)
    assert (one.status_code, batch.status_code, compat.status_code) == (201, 201, 200)
    for job_id in ("one", "two", "three"):
        assert params(store, job_id).items() >= NEW.items()


def test_they_are_part_of_the_conflict(passing: FlaskClient, fox: dict[str, Any]) -> None:
    request = fox | NEW | {"external_task_id": "fox"}
    statuses = [passing.post("/v1/jobs", json=each).status_code for each in (request, request)]
    others = [request | {"result_type": "single"}, fox | {"external_task_id": "fox"}]
    assert statuses == [201, 200]
    assert {passing.post("/v1/jobs", json=each).status_code for each in others} == {409}


def test_the_document_allows_them(passing: FlaskClient, client: FlaskClient) -> None:
    allowed, strict = (each.get("/openapi.json").json["components"]["schemas"] for each in (passing, client))
    for name in ("KirinImageOmni", "KirinV21Reference2Image"):
        assert allowed[name]["additionalProperties"] is True
        assert strict[name]["additionalProperties"] is False


def test_only_an_operator_reads_about_the_setting(
    client: FlaskClient, settings: Settings, store: Store, fox: dict[str, Any]
) -> None:
    producers = create_app(replace(settings, api_keys=("shop:a-producers-own-key-1",)), store).test_client()
    for asked, named in ((client.post("/v1/jobs", json=fox | NEW), True),
                         (producers.post("/v1/jobs", json=fox | NEW, headers=PRODUCER), False)):  # fmt: skip
        assert asked.status_code == 422
        assert set(asked.json["errors"]) == set(NEW)
        assert ("BOOMERANG_UNKNOWN_PARAMETERS" in asked.text) is named
