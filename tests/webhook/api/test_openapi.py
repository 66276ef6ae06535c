import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from jobs.api_keys import Scope
from jobs.store.store import Store
from schemas import MODELS
from schemas.views.problems import Problem

#: Members of a path that are calls.
METHODS = ("get", "post", "patch", "put", "delete")
OMNI = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "dawn"}


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
    documented = {(method, path) for path, item in document["paths"].items() for method in item if method in METHODS}
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


def errors(document: dict[str, Any], path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each documented error of the calls whose path begins this way: its status, and its response."""
    for route, item in document["paths"].items():
        for call in (item[method] for method in ("get", "post") if method in item and route.startswith(path)):
            for status, response in call["responses"].items():
                if int(status) >= 400:
                    name = response.get("$ref", "").rpartition("/")[2]
                    yield int(status), document["components"]["responses"][name] if name else response


def test_every_error_has_a_meaning_of_its_own(document: dict[str, Any]) -> None:
    found = list(errors(document, "/"))
    assert len(found) > 100
    for status, response in found:
        assert HTTPStatus(status).phrase not in response["description"]
        assert response["description"].endswith(".")
    assert [status for status, response in found if "Retry-After" in response.get("headers", ())] != []


def test_errors_are_problems_with_examples(document: dict[str, Any]) -> None:
    for status, response in errors(document, "/v1"):
        (form,) = response["content"].items()
        assert form[0] == "application/problem+json"
        assert form[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert form[1]["examples"]
        for example in form[1]["examples"].values():
            Problem().load(example["value"])
            assert (example["value"]["status"], bool(example["value"]["detail"])) == (status, True)


def test_errors_of_the_provider_compatible_calls_have_its_form(document: dict[str, Any]) -> None:
    found = list(errors(document, "/model/v1"))
    assert {status for status, _ in found} >= {400, 401, 404, 409, 500, 503}
    for _, response in found:
        assert response["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/TaskRefused"}}}


#: Requests that are refused, and the name of the example that shows the answer.
REFUSALS: dict[str, Callable[[FlaskClient], TestResponse]] = {
    "not JSON": lambda client: client.post("/v1/jobs", data=b"{"),
    "no key": lambda client: client.get("/v1/jobs", headers={"Authorization": ""}),
    "no job": lambda client: client.get("/v1/jobs/dawn"),
    "id": lambda client: (client.post("/v1/jobs", json=OMNI), client.post("/v1/jobs", json=OMNI | {"n": 2}))[1],
    "encoding": lambda client: client.post("/v1/jobs", data=b"{}", headers={"Content-Encoding": "br"}),
    "fields": lambda client: client.post("/v1/jobs", json=OMNI | {"n": 12}),
    "query": lambda client: client.get("/v1/jobs?limit=0"),
    "lines": lambda client: client.post("/v1/batches?id=spring&on_error=abort", data=json.dumps(OMNI | {"n": 12})),
    "changed line": lambda client: [
        client.post("/v1/batches?id=spring", json={"model": OMNI["model"], "prompt": prompt})
        for prompt in ("a fox", "an owl")
    ][1],
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_example_has_the_members_of_the_real_answer(
    name: str, client: FlaskClient, document: dict[str, Any]
) -> None:
    answer = REFUSALS[name](client)
    content = document["components"]["responses"][f"Problem{answer.status_code}"]["content"]
    example = content["application/problem+json"]["examples"][name]["value"]
    assert answer.json
    assert set(example) == set(answer.json)
    assert {member: type(value) for member, value in example.items()} == {
        member: type(value) for member, value in answer.json.items()
    }


def test_each_call_documents_its_scope_and_refusals(document: dict[str, Any]) -> None:
    calls = [call for item in document["paths"].values() for method, call in item.items() if method in METHODS]
    assert len(calls) > 15
    for call in calls:
        assert call["x-scope"] in set(Scope)
        assert f"`{call['x-scope']}`" in call["description"]
        assert {"401", "403", "429"} <= call["responses"].keys()


def test_answers_without_a_body_are_documented(document: dict[str, Any]) -> None:
    found = document["paths"]["/v1/jobs/{job_id}/outputs/{index}"]["get"]["responses"]
    assert {"200", "206", "302", "304", "412", "416"} <= set(found)
    assert not any("content" in found[status] for status in ("302", "304"))
    assert list(found["302"]["headers"]) == ["Location"]


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
