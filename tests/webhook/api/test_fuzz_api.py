"""Fuzz tests of the whole API, made from its OpenAPI document. Every answer must be documented.

schemathesis makes valid and invalid requests. Some use ids of existing jobs, batches and images, because invented ids
mostly lead to a 404.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jobs.audit.audit import audit
from jobs.new_job import NewJob
from jobs.store.store import Store
from tests.support.drawing import Draw
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

AS_DOCUMENTED = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)
KEY = "a-producer-key-for-tests"
#: Values of path parameters that exist.
KNOWN = {"job_id": "fox", "task_id": "fox", "batch_id": "pack", "image_id": "image:sha256:" + "0" * 64}
#: Requests of each kind to each call, in every test run and in the long run.
FEW, MANY = 5, 150

pytestmark = pytest.mark.slow


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, value: Any) -> bytes:
    """Return a body of two complete lines and one that is cut off: the document describes one line only."""
    line = json.dumps(value).encode()
    return b"\n".join((line, line, line[: len(line) // 2]))


def operations(app: Flask) -> dict[str, Any]:
    """Return every call of the document, by method and path."""
    document = schemathesis.openapi.from_wsgi("/openapi.json", app, headers={"Authorization": f"Bearer {KEY}"})
    return {operation.label: operation for operation in (found.ok() for found in document.get_all_operations())}


LABELS = sorted(operations(create_app(Settings(api_keys=(KEY,)))))


@pytest.fixture
def seeded(app: Flask, store: Store, client: FlaskClient, draw: Draw) -> Flask:
    """An app with ended jobs and an ended batch, so that no long poll or stream of them waits."""
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m", labels={"shop": "berlin"})])
    store.jobs.cancel("fox")
    answer = client.post("/v1/batches?id=pack", data=b'{"model":"kirin_image_omni","prompt":"a fox"}\n' * 3)
    assert answer.status_code == 201
    assert client.post("/v1/batches/pack/cancel").status_code == 200
    store.batches.sweep()
    assert store.batches.get(own("pack")).done
    return app


def fuzz(operation: Any, headers: dict[str, str], examples: int, check: Callable[[Any, Any], None]) -> Counter[int]:
    """Send requests of every kind to a call. Return how often each status was the answer."""
    statuses: Counter[int] = Counter()
    named = {name: KNOWN[name] for name in KNOWN if f"{{{name}}}" in operation.path}
    kinds = [
        operation.as_strategy(generation_mode=mode, headers=headers, path_parameters=parameters)
        for mode in GenerationMode
        for parameters in ({}, named)
    ]

    @settings(max_examples=examples * len(kinds), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(kinds))
    def send(case: Any) -> None:
        response = case.call()
        statuses[response.status_code] += 1
        check(case, response)

    send()
    return statuses


def as_documented(case: Any, response: Any) -> None:
    # For a stream of events the document describes the data of an event, not the stream
    stream = "event-stream" in response.headers.get("content-type", [""])[0]
    checks = [check for check in AS_DOCUMENTED if not (stream and check is response_schema_conformance)]
    case.validate_response(response, checks=checks)


def refused(case: Any, response: Any) -> None:
    # 429: after too many invalid keys no further key is checked
    assert response.status_code in (400, 401, 404, 405, 429), response.status_code
    as_documented(case, response)


def contents(redis_url: str) -> dict[bytes, bytes]:
    """Return everything in Redis except keys that expire."""
    with redis.Redis.from_url(redis_url) as client:
        return {name: client.dump(name) for name in client.scan_iter("*") if client.ttl(name) == -1}


def everything(label: str, seeded: Flask, store: Store, authorization: str, examples: int) -> None:
    statuses = fuzz(operations(seeded)[label], {"Authorization": authorization}, examples, as_documented)
    assert statuses
    assert set(statuses) - {401}, "the key was never taken"
    assert audit(store) == []


def strangers(label: str, seeded: Flask, redis_url: str, examples: int) -> None:
    before = contents(redis_url)
    for headers in ({"Authorization": "Bearer nobodys-key"}, {"Authorization": "Basic Og=="}):
        assert fuzz(operations(seeded)[label], headers, examples, refused)[401]
    assert contents(redis_url) == before


@pytest.mark.parametrize("label", LABELS)
def test_every_answer_is_documented(label: str, seeded: Flask, store: Store) -> None:
    everything(label, seeded, store, f"Bearer {KEY}", FEW)


@pytest.mark.parametrize("label", LABELS)
def test_requests_without_a_key_change_nothing(label: str, seeded: Flask, redis_url: str) -> None:
    strangers(label, seeded, redis_url, FEW // 2)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("label", LABELS)
def test_every_answer_to_many_requests_is_documented(label: str, seeded: Flask, store: Store) -> None:
    everything(label, seeded, store, f"Bearer {KEY}", MANY)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("label", LABELS)
def test_many_requests_without_a_key_change_nothing(label: str, seeded: Flask, redis_url: str) -> None:
    strangers(label, seeded, redis_url, MANY // 2)
