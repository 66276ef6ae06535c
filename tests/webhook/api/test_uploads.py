"""Atomic uploads, which enqueue all lines or none, and idempotency keys."""

import gzip
import hashlib
import json
from secrets import token_hex
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from jobs.audit.audit import audit
from jobs.errors import StoreUnavailable
from jobs.store.store import Store
from jobs.store.uploads import Uploads
from schemas.views.batches import BatchAccepted
from schemas.views.problems import Problem
from tests.support.producers import own
from tests.support.webhook_server import Messages
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'
#: Lines that gzip shrinks little.
BLANK_LINES = (b" " * 5_000 + b"\n") * 10_000
UNEQUAL = b"".join(b'{"model":"kirin_image_omni","prompt":"%s"}\n' % token_hex(40).encode() for _ in range(1500))
GZIP = {"Content-Encoding": "gzip"}
BAD = b'{"model":"kirin_image_omni","prompt":"x","n":12}\n'


def keys(raw: redis.Redis) -> set[str]:
    """Return the names of all keys, except of messages and of the audit trail, which notes refused calls."""
    return {key for key in raw.scan_iter() if not key.startswith(("{b}:wake", "{b}:at:", "{b}:trails"))}


@pytest.mark.slow
def test_a_valid_upload_enqueues_all_lines(
    client: FlaskClient, store: Store, messages: Messages, raw: redis.Redis
) -> None:
    answer = client.post("/v1/batches?id=b&on_error=abort", data=LINE * 1203)
    assert answer.status_code == 201
    assert BatchAccepted().validate(json.loads(answer.text)) == {}
    assert answer.json == {
        "id": "b",
        "accepted": 1203,
        "known": 0,
        "rejected": 0,
        "errors": [],
        "pilot": None,
        "warnings": [],
    }
    assert [job.given_id for job in store.batches.jobs(own("b"))] == [f"b.{number}" for number in range(1, 1204)]
    assert messages("boomerang.submit") == [[]]
    assert audit(store) == []
    again = client.post("/v1/batches?id=b&on_error=abort", data=LINE * 1203).json
    assert (again["accepted"], again["known"]) == (0, 1203)


def test_one_invalid_line_aborts_the_upload(client: FlaskClient, store: Store, raw: redis.Redis) -> None:
    before = keys(raw)
    answer = client.post("/v1/batches?id=b&on_error=abort", data=LINE * 700 + BAD + LINE * 700 + b"not json\n")
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert [each["line"] for each in answer.json["errors"]] == [701, 1402]
    assert (answer.json["accepted"], answer.json["rejected"]) == (0, 2)
    assert "Nothing was enqueued" in answer.json["detail"]
    assert client.get("/v1/batches/b").status_code == 404
    assert keys(raw) == before


def test_a_conflicting_id_aborts_the_upload(client: FlaskClient, store: Store) -> None:
    client.post("/v1/jobs", json={"model": "kirin_image_omni", "prompt": "a hare", "external_task_id": "taken"})
    other = b'{"model":"kirin_image_omni","prompt":"a fox","external_task_id":"taken"}\n'
    answer = client.post("/v1/batches?id=b&on_error=abort", data=LINE + other)
    assert (answer.status_code, answer.json["rejected"]) == (422, 1)
    assert [job.given_id for job in store.jobs.page().jobs] == ["taken"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param(gzip.compress(LINE * 5000)[:-9], {"Content-Encoding": "gzip"}, id="gzip cut off"),
        pytest.param(LINE * 600, {"Content-Length": "1000000"}, id="broken off"),
    ],
)
def test_an_incomplete_upload_leaves_nothing(
    body: bytes, headers: dict[str, str], client: FlaskClient, raw: redis.Redis
) -> None:
    before = keys(raw)
    environ = {"CONTENT_LENGTH": headers.pop("Content-Length")} if "Content-Length" in headers else {}
    answer = client.post("/v1/batches?on_error=abort", data=body, headers=headers, environ_overrides=environ)
    assert answer.status_code == 400
    assert keys(raw) == before


@pytest.mark.slow
@pytest.mark.parametrize("query", ["?id=b", ""])
@pytest.mark.parametrize(
    "upload",
    [
        pytest.param((gzip.compress(UNEQUAL)[:-9], GZIP, 400), id="gzip cut off"),
        pytest.param((gzip.compress(UNEQUAL)[:-8] + b"x" * 8, GZIP, 400), id="gzip with a wrong sum"),
        pytest.param((gzip.compress(UNEQUAL) + b"no gzip", GZIP, 400), id="no gzip at the end"),
        pytest.param((gzip.compress(UNEQUAL + BLANK_LINES), GZIP, 413), id="gzip of too high a ratio"),
        pytest.param((UNEQUAL, {"Content-Length": "1000000"}, 400), id="broken off"),
    ],
)
def test_an_upload_that_fails_midway_names_its_id_and_continues_under_it(
    query: str, upload: tuple[bytes, dict[str, str], int], client: FlaskClient, store: Store
) -> None:
    body, headers, status = upload
    environ = {"CONTENT_LENGTH": headers["Content-Length"]} if "Content-Length" in headers else {}
    sent = {name: text for name, text in headers.items() if name != "Content-Length"}
    failed = client.post(f"/v1/batches{query}", data=body, headers=sent, environ_overrides=environ)
    assert (failed.status_code, failed.content_type) == (status, "application/problem+json")
    assert Problem().validate(json.loads(failed.text)) == {}
    batch, enqueued = failed.json["id"], failed.json["accepted"]
    assert enqueued == store.batches.get(own(batch)).accepted > 0
    assert f"?id={batch}" in failed.json["detail"]
    # The complete body under that id makes only the missing jobs
    again = client.post(f"/v1/batches?id={batch}", data=UNEQUAL).json
    assert (again["known"], again["accepted"]) == (enqueued, 1500 - enqueued)
    assert audit(store) == []


@pytest.mark.parametrize("query", ["", "?on_error=abort"])
def test_an_unexpected_error_names_the_id(query: str, settings: Settings, store: Store, client: FlaskClient) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    failing = Store(store.context.client, settings)
    failing.jobs.enqueue = fail
    failing.uploads.commit = fail
    producer = create_app(settings, failing, lambda *_: True).test_client()
    producer.environ_base = client.environ_base
    failed = producer.post(f"/v1/batches{query}", data=LINE * 3)
    assert failed.status_code == 500
    assert f"?id={failed.json['id']}" in failed.json["detail"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?id=b&weight=3", {}), ("?id=b", {"Content-Encoding": "br"})],
    ids=["other options", "unknown encoding"],
)
def test_an_upload_that_cannot_succeed_under_its_id_is_not_advised_to_repeat(
    query: str, headers: dict[str, str], client: FlaskClient
) -> None:
    client.post("/v1/batches?id=b&weight=2", data=LINE)
    refused = client.post(f"/v1/batches{query}", data=LINE, headers=headers)
    assert refused.status_code in {415, 422}
    assert "?id=" not in refused.json["detail"]
    assert ("weight" in refused.json["errors"]) == ("weight" in query)


def test_an_upload_stays_atomic_when_the_store_fails(settings: Settings, store: Store, client: FlaskClient) -> None:
    class Failing(Uploads):
        def commit(self, *args: Any, **options: Any) -> Any:
            super().commit(*args, **options)
            raise StoreUnavailable("the answer got lost")

    failing = Store(store.context.client, settings)
    failing.uploads = Failing(failing.context)
    producer = create_app(settings, failing, lambda *_: True).test_client()
    producer.environ_base = client.environ_base
    broken = producer.post("/v1/batches?id=b&on_error=abort", data=LINE * 3)
    assert (broken.status_code, "?id=b" in broken.json["detail"]) == (503, True)
    assert client.post("/v1/batches?id=b&on_error=abort", data=LINE * 3).json["known"] == 3
    assert audit(store) == []


@pytest.mark.parametrize("query", ["?on_error=skip", "?on_error=abort"])
def test_the_same_idempotency_key_means_the_same_batch(query: str, client: FlaskClient, store: Store) -> None:
    key = {"Idempotency-Key": "Katalog für März / 1"}
    first = client.post(f"/v1/batches{query}", data=LINE * 3, headers=key).json
    again = client.post(f"/v1/batches{query}", data=LINE * 3, headers=key).json
    other = client.post(f"/v1/batches{query}", data=LINE * 3, headers={"Idempotency-Key": "2"}).json
    assert (first["accepted"], again["accepted"], again["known"], other["accepted"]) == (3, 0, 3, 3)
    assert first["id"] == again["id"] != other["id"]
    assert other["id"] == "key-" + hashlib.sha256(b"2").hexdigest()[:32]


@pytest.mark.parametrize("query", ["", "?on_error=abort"])
def test_an_idempotency_key_with_other_content_is_refused(query: str, client: FlaskClient, store: Store) -> None:
    key = {"Idempotency-Key": "spring"}
    client.post("/v1/batches", data=LINE * 3, headers=key)
    changed = LINE + LINE.replace(b"fox", b"hare") + LINE
    answer = client.post(f"/v1/batches{query}", data=changed, headers=key)
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert answer.json["line"] == 2
    assert {
        json.loads(job.text or "")["params"]["prompt"]
        for job in store.jobs.get_many([job.id for job in store.jobs.page().jobs], text=True)
        if job
    } == {"a fox"}
    # The batch's id has the same effect as the key
    batch = store.jobs.page().jobs[0].batch
    assert client.post(f"/v1/batches?id={batch}", data=changed).status_code == 422
    assert audit(store) == []


@pytest.mark.parametrize(
    ("query", "key"), [("?id=b", "k"), ("", ""), ("", "k" * 256)], ids=["beside an id", "empty", "too long"]
)
def test_an_invalid_idempotency_key_is_refused(query: str, key: str, client: FlaskClient) -> None:
    answer = client.post(f"/v1/batches{query}", data=LINE, headers={"Idempotency-Key": key})
    assert (answer.status_code, "Idempotency-Key" in answer.json["detail"]) == (422, True)


def test_an_invalid_on_error_is_refused(client: FlaskClient) -> None:
    answer = client.post("/v1/batches?on_error=stop", data=LINE)
    assert (answer.status_code, list(answer.json["errors"])) == (422, ["on_error"])
