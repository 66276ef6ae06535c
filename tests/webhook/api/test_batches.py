import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.errors import StoreUnavailable
from jobs.store.jobs import Enqueued, Jobs
from jobs.store.store import Store
from schemas.views.batches import BatchAccepted, BatchView
from schemas.views.jobs import JobView
from tests.support.hints import one_hint
from tests.support.producers import own
from tests.support.webhook_server import CallBack, Messages
from webhook.app import create_app
from webhook.http import bodies
from webhook.http.bodies import MOST_RATIO
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


def test_every_line_is_a_job_in_input_order(client: FlaskClient, store: Store, messages: Messages) -> None:
    with one_hint(lambda: messages("boomerang.submit")):
        answer = client.post("/v1/batches?id=foxes", data=LINE * 1203)

    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/batches/foxes")
    assert BatchAccepted().validate(json.loads(answer.text)) == {}
    assert answer.json == {
        "id": "foxes",
        "accepted": 1203,
        "known": 0,
        "rejected": 0,
        "errors": [],
        "pilot": None,
        "warnings": [],
    }
    assert [job.given_id for job in store.batches.jobs(own("foxes"))] == [
        f"foxes.{number}" for number in range(1, 1204)
    ]


def test_the_same_upload_again_adds_nothing(client: FlaskClient, store: Store) -> None:
    client.post("/v1/batches?id=foxes", data=LINE * 30)
    again = client.post("/v1/batches?id=foxes", data=LINE * 30)
    assert (again.json["accepted"], again.json["known"]) == (0, 30)
    assert store.batches.get(own("foxes")).accepted == 30


def test_an_id_is_generated_when_none_is_given(client: FlaskClient, store: Store) -> None:
    answer = client.post("/v1/batches", data=LINE)
    assert store.batches.get(own(answer.json["id"])).accepted == 1


@pytest.mark.parametrize("batch", ["a/b", "~x", "x" * 101, "", " "])
def test_an_invalid_batch_id_is_refused(batch: str, client: FlaskClient) -> None:
    answer = client.post("/v1/batches", data=LINE, query_string={"id": batch})
    assert answer.status_code == 422
    assert "id" in answer.json["errors"]


def test_an_invalid_line_is_listed_and_the_others_are_enqueued(client: FlaskClient, store: Store) -> None:
    # Given a job of another request under an id that the upload uses
    client.post("/v1/jobs", json={"model": "kirin_image_omni", "prompt": "a hare", "external_task_id": "taken"})
    body = b"\n".join(
        [
            LINE.strip(),
            b"",
            b"not json",
            b'{"model":"kirin_image_omni","prompt":"x","n":12}',
            b'{"model":"kirin_image_omni","prompt":"a fox","external_task_id":"taken"}',
            b"  \r",
            b'{"model":"kirin_image_omni","prompt":"own id","external_task_id":"mine"}\r',
            b'{"model":"kirin_image_omni","prompt":"the last line has no end"}',
        ]
    )

    answer = client.post("/v1/batches?id=b", data=body).json

    assert (answer["accepted"], answer["known"], answer["rejected"]) == (3, 0, 3)
    assert [(each["line"], list(each["errors"]), each["codes"]) for each in answer["errors"]] == [
        (3, ["request"], []),
        (4, ["n"], ["002016003"]),
        (5, ["external_task_id"], []),
    ]
    assert [job.given_id for job in store.batches.jobs(own("b"))] == ["b.1", "mine", "b.8"]


def test_only_the_first_thousand_errors_are_listed_and_all_are_counted(client: FlaskClient) -> None:
    answer = client.post("/v1/batches?id=b", data=b"x\n" * 1500).json
    assert (len(answer["errors"]), answer["rejected"]) == (1000, 1500)


def test_an_empty_upload_is_an_empty_batch(client: FlaskClient) -> None:
    client.post("/v1/batches?id=none", data=b"\n\n")
    view = json.loads(client.get("/v1/batches/none").text)
    assert (view["accepted"], view["done"]) == (0, True)


def test_only_the_overlong_line_is_refused(store: Store) -> None:
    app = create_app(Settings(api_keys=("k",), max_body=2048), store, lambda *_: True)
    long = b'{"model":"kirin_image_omni","prompt":"' + b"x" * 200_000 + b'"}\n'

    answer = app.test_client().post("/v1/batches", data=LINE + long + LINE, headers={"Authorization": "Bearer k"}).json

    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer["errors"][0]["line"] == 2
    assert "2,048 bytes" in answer["errors"][0]["errors"]["request"][0]


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 3_000], ids=["few", "many"])
@pytest.mark.parametrize("packings", [1, 9], ids=["fastest", "best"])
def test_what_a_client_compresses_is_accepted(client: FlaskClient, lines: int, packings: int) -> None:
    texts = [
        b'{"model":"kirin_image_omni","prompt":"%d %s"}\n' % (number, b"a red fox, " * 20) for number in range(lines)
    ]
    body = gzip.compress(b"".join(texts), packings)
    answer = client.post("/v1/batches?id=b", data=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json["accepted"]) == (201, lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [LINE, b"\n", LINE[:-1] + b" " * 5_000 + b"\n"], ids=["equal lines", "blank lines", "spaces"]
)
@pytest.mark.parametrize("options", ["", "&on_error=abort"])
def test_a_small_body_that_expands_to_a_large_one_is_refused(
    client: FlaskClient, store: Store, line: bytes, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "FREE_BYTES", 64 * 1024)
    body = gzip.compress(line * (500_000 // len(line)))
    answer = client.post(f"/v1/batches?id=b{options}", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert "times the bytes" in answer.json["detail"]
    # At most what is free, and what was sent times the ratio
    assert sum(store.statistics.totals().counts.values()) * len(line) <= bodies.FREE_BYTES + MOST_RATIO * len(body)


@pytest.mark.slow
def test_equal_lines_are_accepted_however_well_they_compress(client: FlaskClient) -> None:
    line = LINE.replace(b"a fox", b"a fox " * 10)
    body = gzip.compress(line * 5_000, 9)
    assert len(line) * 5_000 > MOST_RATIO * len(body)
    answer = client.post("/v1/batches?id=b", data=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json["accepted"]) == (201, 5_000)


def test_gzip_is_accepted(client: FlaskClient) -> None:
    body = gzip.compress(LINE * 700) + gzip.compress(LINE)
    answer = client.post("/v1/batches?id=b", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.json["accepted"] == 701


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        pytest.param(LINE, "gzip", 400, id="not gzip"),
        pytest.param(gzip.compress(LINE * 9)[:-9], "gzip", 400, id="cut off"),
        pytest.param(LINE, "br", 415, id="another encoding"),
    ],
)
def test_an_unknown_or_damaged_encoding_is_refused(
    body: bytes, encoding: str, status: int, client: FlaskClient
) -> None:
    answer = client.post("/v1/batches", data=body, headers={"Content-Encoding": encoding})
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_a_body_that_ends_early_is_refused(client: FlaskClient) -> None:
    answer = client.post("/v1/batches?id=b", data=LINE, environ_overrides={"CONTENT_LENGTH": "1000"})
    assert answer.status_code == 400
    assert "end it again" in answer.json["detail"]


class Failing(Jobs):
    """The real jobs, whose store becomes unavailable after some calls."""

    left = 2

    def enqueue(self, *args: Any, **options: Any) -> Enqueued:
        if self.left == 0:
            raise StoreUnavailable("gone")
        self.left -= 1
        return super().enqueue(*args, **options)


def test_a_store_failure_midway_says_how_to_continue(settings: Settings, store: Store, client: FlaskClient) -> None:
    # Given a store that fails after the first chunk
    failing = Store(store.context.client, settings)
    failing.jobs = Failing(failing.context)
    producer = create_app(settings, failing, lambda *_: True).test_client()
    producer.environ_base = client.environ_base

    broken = producer.post("/v1/batches", data=LINE * 1200)

    # Then the problem names the batch and how to continue
    assert (broken.status_code, broken.headers["Retry-After"]) == (503, "5")
    assert broken.json["accepted"] == 500
    assert f"?id={broken.json['id']}" in broken.json["detail"]
    # And the repeated upload completes the batch
    again = client.post(f"/v1/batches?id={broken.json['id']}", data=LINE * 1200).json
    assert (again["accepted"], again["known"]) == (700, 500)


def test_large_lines_are_enqueued_in_small_chunks(
    settings: Settings, store: Store, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.api.upload_lines.CHUNK_BYTES", 64 * 1024)
    sizes: list[int] = []

    class Recording(Jobs):
        def enqueue(self, jobs: Any, *args: Any, **options: Any) -> Enqueued:
            sizes.append(sum(len(job.text) for job in jobs))
            return super().enqueue(jobs, *args, **options)

    watched = Store(store.context.client, settings)
    watched.jobs = Recording(watched.context)
    producer = create_app(settings, watched, lambda *_: True).test_client()
    line = (
        b'{"model":"kirin_image_omni","prompt":"x","labels":{'
        + b",".join(b'"l%d":"%s"' % (number, b"y" * 250) for number in range(16))
        + b"}}\n"
    )

    answer = producer.post(
        "/v1/batches", data=line * 220, headers={"Authorization": client.environ_base["HTTP_AUTHORIZATION"]}
    )

    assert answer.json["accepted"] == 220
    assert 64 * 1024 <= max(sizes) < 80 * 1024


def test_a_batch_counts_its_jobs_by_state(
    client: FlaskClient, store: Store, call_back: CallBack, completed: dict[str, Any]
) -> None:
    client.post("/v1/batches?id=b", data=LINE * 3)
    store.attempts.admit(1)
    store.attempts.claim([own("b.1")])
    call_back(own("b.1"), completed)

    view = json.loads(client.get("/v1/batches/b").text)

    assert BatchView().validate(view) == {}
    assert (view["accepted"], view["done"], view["cost"]) == (3, False, "0.0065")
    assert view["counts"] == {
        "queued": 2, "submitting": 0, "in_doubt": 0, "in_progress": 0,
        "completed": 1, "failed": 0, "cancelled": 0, "expired": 0,
    }  # fmt: skip


def test_results_contain_every_job_in_input_order(
    client: FlaskClient, store: Store, call_back: CallBack, completed: dict[str, Any]
) -> None:
    client.post("/v1/batches?id=b", data=LINE * 620)
    store.attempts.admit(3)
    store.attempts.claim([own("b.3")])
    call_back(own("b.3"), completed)

    answer = client.get("/v1/batches/b/results")

    assert answer.content_type == "application/x-ndjson"
    views = [json.loads(line) for line in answer.text.splitlines()]
    assert [view["id"] for view in views] == [f"b.{number}" for number in range(1, 621)]
    assert [view["status"] for view in views[:4]] == ["queued", "queued", "completed", "queued"]
    assert all(JobView().validate(view) == {} for view in views[:4])


def test_results_of_an_empty_batch_are_empty(client: FlaskClient, store: Store) -> None:
    store.jobs.enqueue([], "none")
    answer = client.get("/v1/batches/none/results")
    assert (answer.status_code, answer.data) == (200, b"")


def test_results_break_off_when_the_store_fails(
    store: Store, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = type(store.batches.members)
    parts = members.parts

    def failing(*args: Any) -> Iterator[Any]:
        yield next(parts(*args))
        raise StoreUnavailable("gone")

    assert client.post("/v1/batches?id=b", data=LINE).status_code == 201
    monkeypatch.setattr(members, "parts", failing)
    with pytest.raises(StoreUnavailable):
        client.get("/v1/batches/b/results", buffered=True)


@pytest.mark.slow
def test_every_long_request_releases_its_place(client: FlaskClient, store: Store) -> None:
    for _ in range(60):
        client.post("/v1/batches?id=b", data=LINE)
        client.get("/v1/batches/b/results").close()
        client.get("/v1/batches/missing/results")
    assert client.get("/v1/batches/b/results").status_code == 200


def test_an_upload_beyond_the_limit_gets_503_and_retry_after(client: FlaskClient) -> None:
    shared = client.application.extensions["boomerang"]
    (admin,) = shared.settings.keys
    while shared.transfers.take(admin.name, 1, lambda: None, lambda: False):
        pass
    for answer in (client.post("/v1/batches", data=LINE), client.get("/v1/batches/b/results")):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
