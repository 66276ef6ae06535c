"""Whatever the body of a callback is: with a valid token it is a hint, and without one it changes nothing."""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder, run_wsgi_app

from jobs.new_job import NewJob
from jobs.settings import CallbackMode
from jobs.states import State
from jobs.store.outcomes.jobs import RequeueOutcome
from jobs.store.store import Store
from schemas import callback_path
from schemas.signatures import signed
from tests.support.examples import examples
from tests.support.webhook_server import AtProvider, CallBack, Messages
from webhook.app import create_app
from webhook.settings import Settings

RUNNING = b'{"status":"running"}'
LIMIT = 2048
WHSEC = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="

UNREADABLE = [
    pytest.param(b"", id="empty"),
    pytest.param(b" ", id="blank"),
    pytest.param(b"{", id="not JSON"),
    pytest.param(b"[" * 30_000, id="nested too deeply"),
    pytest.param(b'{"a":1,"a":2}', id="a key twice"),
    pytest.param(b'{"a":NaN}', id="NaN"),
    pytest.param(b'{"a":-Infinity}', id="infinity"),
    pytest.param(b'{"a":1e999}', id="a number beyond floats"),
    pytest.param(b"1" * 5000, id="a huge number"),
    pytest.param(b'{"a":"\\ud800"}', id="half a surrogate"),
    pytest.param('{"status":"running"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b"\xef\xbb\xbf" + RUNNING, id="a byte order mark"),
    pytest.param(b'{"status":"\xff"}', id="not UTF-8"),
    pytest.param(b'{"id":"a"}{"id":"b"}', id="two values"),
    pytest.param(RUNNING + b"\x00", id="a NUL"),
    pytest.param(b"task_id=t1&task_status=succeed", id="a form"),
    pytest.param(gzip.compress(RUNNING), id="gzip"),
    pytest.param(b"x" * (256 * 1024 + 1), id="too large"),
]
WITHOUT_REPORT = [
    pytest.param(b"[1, 2]", id="a list"),
    pytest.param(b"[" + RUNNING + b"]", id="a report in a list"),
    pytest.param(json.dumps(RUNNING.decode()).encode(), id="a report in a string"),
    pytest.param(b"null", id="null"),
    pytest.param(b"7", id="a number"),
]


@pytest.mark.parametrize("body", UNREADABLE + WITHOUT_REPORT)
def test_a_body_without_a_report_is_a_hint(
    body: bytes, at_provider: AtProvider, call_back: CallBack, store: Store, messages: Messages
) -> None:
    at_provider("fox")

    answer = call_back("fox", body)

    assert (answer.status_code, answer.data) == (204, b"")
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]
    assert messages("boomerang.reconcile") == [[]]


@pytest.mark.parametrize("body", UNREADABLE)
def test_an_unreadable_body_is_counted_and_logged_without_its_content(
    *,
    body: bytes,
    at_provider: AtProvider,
    call_back: CallBack,
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_provider("fox")

    call_back("fox", body)

    assert 'boomerang_callbacks_total{outcome="unreadable"} 1.0' in client.get("/metrics").text
    (line,) = [record.getMessage() for record in caplog.records if record.name == "webhook.callbacks"]
    assert line.startswith("callback job=fox status=unreadable outcome=noted reason=")
    assert line.isprintable()
    assert len(line) < 250


@pytest.mark.parametrize("body", UNREADABLE + WITHOUT_REPORT)
def test_an_unreadable_body_changes_nothing_about_an_ended_or_unknown_job(
    body: bytes, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")
    call_back("fox", completed)
    before = store.jobs.get("fox")

    assert [call_back(job_id, body).status_code for job_id in ("fox", "never-enqueued")] == [204, 204]

    assert store.jobs.get("fox") == before


class Call(NamedTuple):
    """A request: its body, and how it is sent."""

    body: bytes
    headers: dict[str, str]
    #: The Content-Length; None is a chunked body.
    length: int | None
    #: Whether the server knows where a chunked body ends, as gunicorn does.
    ends: bool

    def post(self, app: Flask, path: str) -> int:
        builder = EnvironBuilder(
            path=path, method="POST", headers=self.headers.items(), input_stream=io.BytesIO(self.body)
        )
        environ = builder.get_environ()
        environ.pop("CONTENT_LENGTH", None)
        if self.length is not None:
            environ["CONTENT_LENGTH"] = str(self.length)
        else:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        if self.ends:
            environ["wsgi.input_terminated"] = True
        # Not by Flask's test client, which computes the length itself
        _, status, _ = run_wsgi_app(app, environ)
        return int(status[:3])

    @property
    def refusal(self) -> int:
        """The status for a stranger, as it was before every body was a hint."""
        if self.length is None:
            return 411
        return 413 if self.length > LIMIT else 403


def _encoded(text: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from(
        [
            text.encode("utf-8-sig"),
            text.encode("utf-16"),
            text.encode("utf-32-le"),
            gzip.compress(text.encode()),
            zlib.compress(text.encode()),
            urlencode({"payload": text}).encode(),
            f'--b\r\nContent-Disposition: form-data; name="p"\r\n\r\n{text}\r\n--b--\r\n'.encode(),
            json.dumps([text]).encode(),
            json.dumps(text).encode(),
            text.encode() + b"\x00",
        ]
    )


#: A report that would settle the job if it was read.
REPORT = json.dumps(
    {
        "id": "t1",
        "status": "completed",
        "output": [{"content": [{"type": "image", "url": "https://cdn.example.com/1.png"}]}],
        "usage": {"cost": "0.0065"},
    }
)
#: JSON, partly invalid (NaN), that is no report: no member is called `status`.
OTHER_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
BODIES = st.one_of(
    st.binary(max_size=64),
    OTHER_JSON,
    _encoded(REPORT),
    st.integers(0, len(REPORT) - 1).map(lambda end: REPORT[:end].encode()),
    st.integers(1, 40).map(lambda times: REPORT.encode() * (times + 1)),
)
CONTENT_TYPES = st.sampled_from(
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "text/plain; charset=utf-16",
        "application/octet-stream",
        "a/b/c;;",
        "",
    ]
)
ENCODINGS = st.sampled_from(["", "identity", "gzip", "br", "deflate, gzip", "x" * 100])


@st.composite
def calls(draw: st.DrawFn) -> Call:
    body = draw(BODIES)
    headers = {"Content-Type": draw(CONTENT_TYPES), "Content-Encoding": draw(ENCODINGS)}
    length = draw(st.sampled_from([len(body), None, len(body) + 9, LIMIT + 1, 10**20]))
    return Call(body, {name: value for name, value in headers.items() if value}, length, draw(st.booleans()))


@pytest.fixture
def numbers() -> Iterator[int]:
    return count()


@pytest.mark.slow
def test_every_body_is_a_hint_if_and_only_if_its_token_is_valid(
    *,
    settings: Settings,
    store: Store,
    raw: redis.Redis,
    at_provider: AtProvider,
    numbers: Iterator[int],
    completed: dict[str, Any],
) -> None:
    app = create_app(replace(settings, max_callback=LIMIT), store)
    (secret,) = settings.callback_secrets

    @how(max_examples=examples(100))
    @given(calls())
    def check(call: Call) -> None:
        job_id = at_provider(f"fox-{next(numbers)}")
        before = _writes(raw)
        for path in (callback_path(job_id, "an-unknown-secret"), f"/callbacks/{job_id}", "/callbacks/hare/x"):
            assert call.post(app, path) == call.refusal
        assert _writes(raw) == before

        assert call.post(app, callback_path(job_id, secret)) == 204

        assert [each.job.id for each in store.attempts.claim_due(10).dues] == [job_id]
        assert store.jobs.get(job_id).state is State.IN_PROGRESS
        # And a readable callback after it still settles the job
        assert app.test_client().post(callback_path(job_id, secret), json=completed).status_code == 204
        assert store.jobs.get(job_id).state is State.COMPLETED

    check()


def _writes(raw: redis.Redis) -> int:
    """How many changes Redis has counted."""
    return int(raw.info("persistence")["rdb_changes_since_last_save"])


def test_a_chunked_report_settles_like_any_other(
    at_provider: AtProvider, app: Flask, store: Store, secret: str
) -> None:
    path = callback_path(at_provider("fox"), secret)
    assert Call(REPORT.encode(), {}, None, ends=True).post(app, path) == 204
    assert store.jobs.get("fox").state is State.COMPLETED


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_verifying_an_address_changes_nothing(
    method: str, at_provider: AtProvider, client: FlaskClient, raw: redis.Redis, secret: str
) -> None:
    at_provider("fox")
    before = _writes(raw)

    answer = client.open(callback_path("fox", secret), method=method)

    assert (answer.status_code, answer.data) == (204, b"")
    assert client.open(callback_path("never-enqueued", secret), method=method).status_code == 204
    assert _writes(raw) == before
    assert 'boomerang_callbacks_total{outcome="verified"} 2.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "outcome"),
    [
        pytest.param("GET", RequeueOutcome.QUEUED, id="GET"),
        pytest.param("HEAD", RequeueOutcome.QUEUED, id="HEAD"),
        pytest.param("POST", RequeueOutcome.DOUBT, id="POST"),
    ],
)
def test_only_a_post_is_proof_that_the_task_exists(
    method: str, outcome: RequeueOutcome, client: FlaskClient, secret: str, store: Store
) -> None:
    # Given a provider that calls the address before it has answered the submission
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(1)
    (claim,) = store.attempts.claim(["fox"])

    assert client.open(callback_path("fox", secret), method=method).status_code == 204

    # Then a submission that the provider refused is sent again unless there was a callback
    assert store.attempts.requeue("fox", claim.fence, "429") is outcome


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_strangers_learn_nothing_by_verifying(
    method: str, at_provider: AtProvider, settings: Settings, store: Store
) -> None:
    at_provider("fox")
    client = create_app(settings, store).test_client()
    fenced = create_app(replace(settings, callback_addresses=(ip_network("203.0.113.0/24"),)), store).test_client()
    plain = client.open("/callbacks/fox", method=method)

    answers = [
        client.open("/callbacks/fox/wrong", method=method),
        client.open("/callbacks/hare/wrong", method=method),
        client.open(callback_path("fox", "a-secret-that-was-retired"), method=method),
        fenced.open(callback_path("fox", settings.callback_secrets[0]), method=method),
    ]

    assert plain.status_code == 405
    for answer in answers:
        assert (answer.status_code, answer.data) == (405, plain.data)
        assert answer.allow == {"OPTIONS", "POST"}
        assert {**answer.headers, "Date": ""} == {**answers[0].headers, "Date": ""}


def test_where_the_provider_signs_an_unreadable_body_must_be_signed_too(
    at_provider: AtProvider, settings: Settings, store: Store, secret: str
) -> None:
    at_provider("fox")
    app = create_app(replace(settings, signature_secrets=(WHSEC,), max_callback=LIMIT), store)
    path = callback_path("fox", secret)
    good = signed("msg-1", datetime.now(UTC), "{", [WHSEC])

    refused = [
        Call(b"{", {}, 1, ends=True),
        Call(b"[", good, 1, ends=True),
        Call(b"{", good, 9, ends=True),
        Call(b"{" * 9000, good, 9000, ends=True),
        Call(b"{" * 9000, good, None, ends=True),
    ]
    assert [call.post(app, path) for call in refused] == [403, 403, 400, 413, 413]
    assert store.attempts.claim_due(10).dues == ()
    for call in (Call(b"{", good, 1, ends=True), Call(b"{", good, None, ends=True)):
        assert call.post(app, path) == 204
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_in_confirm_mode_an_unreadable_body_is_the_same_hint(
    at_provider: AtProvider, settings: Settings, store: Store, secret: str
) -> None:
    app = create_app(replace(settings, callback_mode=CallbackMode.CONFIRM), store)
    assert app.test_client().post(callback_path(at_provider("fox"), secret), data=b"[").status_code == 204
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_with_redis_away_an_unreadable_body_is_asked_for_again(settings: Settings, secret: str) -> None:
    away = replace(settings, redis_url="redis://127.0.0.1:1/0")
    answer = create_app(away).test_client().post(callback_path("fox", secret), data=b"[")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
