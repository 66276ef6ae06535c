"""The page /docs: its calls use the login, and the service accepts every example in the OpenAPI document."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.store.store import Store
from schemas import MODELS
from tests.support.drawing import drawn
from webhook.app import create_app
from webhook.settings import Settings

ACTIONS = ("pause", "resume", "cancel", "retry")
#: Examples whose documented answer is an error: the example image is never uploaded, and the example job is neither
#: submitted, so that it has no results, nor notified.
REFUSED = {
    "GET /v1/images/{image_id}": 404,
    "GET /v1/jobs/{job_id}/outputs/{index}": 409,
    "POST /v1/jobs/{job_id}/deliveries/replay": 409,
    "POST /v1/receivers/{receiver}/enable": 404,
}
REFUSED_TO_PRODUCERS = {"GET /v1/keys/{producer}/limits": 403}


@pytest.fixture
def pages(settings: Settings, store: Store) -> Flask:
    keys = {"api_keys": ("shop:one",), "admin_keys": ("boss:two",), "session_secret": "a-session-secret-for-tests"}
    return create_app(Settings(**{**vars(settings), **keys}), store)


@pytest.fixture
def person(pages: Flask) -> FlaskClient:
    return pages.test_client()


def csrf_token(page: str) -> str:
    return str(re.findall(r'name="csrf(?:_token" value|-token" content)="([^"]+)"', page)[0])


def open_docs(person: FlaskClient, key: str = "one") -> dict[str, str]:
    """Log in, open /docs and return the headers that its calls carry."""
    asked = person.get("/docs")
    token = csrf_token(person.get(asked.headers["Location"]).text)
    entered = person.post(asked.headers["Location"], data={"csrf_token": token, "key": key})
    return {"X-CSRFToken": csrf_token(person.get(entered.headers["Location"]).text)}


class Example(NamedTuple):
    name: str
    method: str
    path: str
    content_type: str | None
    body: bytes


def examples(document: dict[str, Any]) -> Iterator[Example]:
    """Every operation with the examples of its parameters, once for each example of its body."""
    for template, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method in item.keys() & {"get", "post"}:
            call = item[method]
            query, path = [], template
            for each in (*shared, *call.get("parameters", [])):
                example = each.get("example", each["schema"].get("example"))
                if each["in"] == "path":
                    path = path.replace(f"{{{each['name']}}}", example)
                elif example is not None:
                    query.append(f"{each['name']}={example}")
            address = path + ("?" + "&".join(query) if query else "")
            for content_type, body in bodies(call):
                yield Example(f"{method.upper()} {template}", method.upper(), address, content_type, body)


def bodies(call: dict[str, Any]) -> Iterator[tuple[str | None, bytes]]:
    if "requestBody" not in call:
        yield None, b""
        return
    for content_type, form in call["requestBody"]["content"].items():
        if form["schema"].get("format") == "binary":
            if content_type == "image/png":
                yield content_type, drawn()
            continue
        for example in form["examples"].values():
            value = example["value"]
            yield content_type, (value if isinstance(value, str) else json.dumps(value)).encode()


def in_order(example: Example) -> tuple[int, str]:
    """Create first, then read, then act in an order in which every action is possible."""
    action = example.name.rpartition("/")[2]
    if action in ACTIONS:
        return 2 + ACTIONS.index(action), example.path
    return int(example.content_type is None), example.path


@pytest.mark.parametrize("key", ["one", "two"])
def test_the_service_accepts_every_example_from_the_page(key: str, person: FlaskClient) -> None:
    # Given a person who is logged in and has no key in a header
    headers = open_docs(person, key)
    document = json.loads(person.get("/openapi.json").text)
    # When the page sends each example of the document
    answers = {}
    for example in sorted(examples(document), key=in_order):
        with person.open(
            example.path, method=example.method, data=example.body, content_type=example.content_type, headers=headers
        ) as answer:
            answers[example.name] = answer.status_code
            # Then the service accepts it
            refused = {**REFUSED, **(REFUSED_TO_PRODUCERS if key == "one" else {})}
            expected = {refused[example.name]} if example.name in refused else {200, 201}
            assert answer.status_code in expected, (example, answer.get_data(as_text=True))
            if example.name == "POST /v1/batches":
                assert (answer.json["accepted"], answer.json["errors"]) == (len(MODELS), [])
    calls = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "post"}
    }
    assert answers.keys() == calls


@pytest.mark.parametrize("call", ["GET /v1/lanes", "POST /v1/jobs/x/cancel", "GET /model/v1/generation/task/x"])
def test_a_session_without_its_token_opens_no_call(call: str, person: FlaskClient) -> None:
    """Another site can make a browser send the cookie, but does not know the token."""
    method, path = call.split()
    headers = open_docs(person)
    assert person.open(path, method=method, headers=headers).status_code in (200, 404)
    for wrong in ({}, {"X-CSRFToken": "guessed"}, {"X-CSRFToken": ""}):
        assert person.open(path, method=method, headers=wrong).status_code == 401
    person.delete_cookie("boomerang")
    assert person.open(path, method=method, headers=headers).status_code == 401


def test_a_token_of_another_session_opens_nothing(pages: Flask, person: FlaskClient) -> None:
    theirs = open_docs(pages.test_client())
    open_docs(person)
    assert person.get("/v1/lanes", headers=theirs).status_code == 401


def test_a_session_has_the_scopes_of_its_key(person: FlaskClient, store: Store, settings: Settings) -> None:
    ring = KeyRing(store.context.client, store.context.keys)
    key, secret = ring.add("press", frozenset({Scope.READ}))
    headers = open_docs(person, secret)
    request = {"model": "kirin_image_omni", "prompt": "a fox"}
    assert person.get("/v1/jobs", headers=headers).status_code == 200
    assert person.post("/v1/jobs", json=request, headers=headers).status_code == 403
    ring.revoke(key.id)
    fresh = create_app(settings, store)  # a new app, which has not cached the key
    fresh.secret_key = person.application.secret_key
    other = fresh.test_client()
    cookie = person.get_cookie("boomerang")
    assert cookie is not None
    other.set_cookie("boomerang", cookie.value)
    assert other.get("/v1/jobs", headers=headers).status_code == 401


def test_a_key_in_a_header_overrides_the_session(person: FlaskClient) -> None:
    headers = open_docs(person) | {"Authorization": "Bearer three"}
    assert person.get("/v1/lanes", headers=headers).status_code == 401


def test_calls_from_the_page_count_for_the_rate_limit(settings: Settings, store: Store) -> None:
    keys = {"api_keys": ("shop:one",), "rate_limit": "3/hour"}  # one of them opens the page
    person = create_app(Settings(**{**vars(settings), **keys}), store).test_client()
    headers = open_docs(person)
    answers = [person.get("/v1/lanes", headers=headers).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
