import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.store.store import Store
from schemas import MODELS


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(client.get("/openapi.json").text)
    return document


def test_it_lists_exactly_the_producers_calls(document: dict[str, Any], app: Flask) -> None:
    routes = {
        (method.lower(), re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/v1", "/model/v1"))
    }
    documented = {
        (method, path) for path, item in document["paths"].items() for method in item if method in ("get", "post")
    }
    assert documented == routes


def test_every_reference_resolves(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'\$ref': '#/components/(\w+)/(\w+)'", str(document)))
    assert references
    for kind, name in references:
        assert name in document["components"][kind], name


def test_a_generation_request_is_one_of_the_models(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["GenerationRequest"]
    assert set(request["discriminator"]["mapping"]) == set(MODELS)
    assert {each["$ref"] for each in request["oneOf"]} == set(request["discriminator"]["mapping"].values())
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/GenerationRequest"}


def test_the_document_requires_a_bearer_key(document: dict[str, Any]) -> None:
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_errors_are_problems(document: dict[str, Any]) -> None:
    content = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_each_call_documents_its_scope_and_refusals(document: dict[str, Any]) -> None:
    calls = [call for item in document["paths"].values() for method, call in item.items() if method in ("get", "post")]
    assert len(calls) > 15
    for call in calls:
        assert call["x-scope"] in ("enqueue", "read", "cancel")
        assert f"`{call['x-scope']}`" in call["description"]
        assert {"401", "403", "429"} <= call["responses"].keys()


def test_streams_are_documented_as_lines(document: dict[str, Any]) -> None:
    upload = document["paths"]["/v1/batches"]["post"]
    results = document["paths"]["/v1/batches/{batch_id}/results"]["get"]
    assert list(upload["requestBody"]["content"]) == ["application/x-ndjson"]
    forms = results["responses"]["200"]["content"]
    assert set(forms) == {"application/x-ndjson", "text/csv"}
    assert forms["application/x-ndjson"]["schema"] == {"$ref": "#/components/schemas/JobView"}
    assert forms["text/csv"]["schema"]["type"] == "string"
    assert [each["schema"]["enum"] for each in results["parameters"] if each["name"] == "format"] == [["ndjson", "csv"]]
    assert results["responses"]["200"]["description"] == "OK"


def test_the_columns_of_a_table_are_documented(document: dict[str, Any], client: FlaskClient, store: Store) -> None:
    store.jobs.enqueue([], "b")
    columns = client.get("/v1/batches/b/results?format=csv").text.strip().replace(",", ", ")
    forms = document["paths"]["/v1/batches/{batch_id}/results"]["get"]["responses"]["200"]["content"]
    assert columns in forms["text/csv"]["schema"]["description"]
