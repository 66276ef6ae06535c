import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_network
from threading import Barrier
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.failures import NO_OUTPUT
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.settings import CallbackMode
from jobs.states import State
from jobs.store.store import Store
from schemas import callback_path
from schemas.signatures import signed
from tests.support.waiting import WaitFor
from tests.support.webhook_server import AtProvider, CallBack, Messages
from webhook.app import create_app
from webhook.settings import Settings

COPIES = 100
METRICS_TOKEN = "a-token-for-metrics"
KLING = {
    "task_id": "u1",
    "task_status": "succeed",
    "task_result": {"images": [{"index": 0, "url": "https://c.example.com/1"}]},
}


def test_a_complete_callback_ends_the_job(
    at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")

    assert call_back("fox", completed).status_code == 204

    job = store.jobs.get("fox")
    assert (job.state, job.settled_by) == (State.COMPLETED, "callback")
    assert job.result
    assert job.result.output == ({"type": "image", "url": "https://cdn.example.com/1.png"},)
    assert (job.result.cost, job.result.discount) == (Decimal("0.0065"), 1)


def test_a_failure_is_only_a_hint(
    at_provider: AtProvider, call_back: CallBack, failed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")

    assert call_back("fox", failed).status_code == 204

    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_repeats_and_contradictions_succeed_and_change_nothing(
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    failed: dict[str, Any],
    store: Store,
) -> None:
    at_provider("fox")
    call_back("fox", completed)
    before = store.jobs.get("fox")

    answers = [call_back("fox", body).status_code for body in (completed, failed, {"status": "running"}, {})]

    assert answers == [204] * 4
    assert store.jobs.get("fox") == before


@pytest.mark.slow
def test_100_concurrent_copies_end_the_job_once(
    at_provider: AtProvider, app: Flask, settings: Settings, completed: dict[str, Any], store: Store
) -> None:
    address = callback_path(at_provider("fox", notify=True), settings.callback_secrets[0])
    at_once = Barrier(COPIES)

    def call(_: int) -> int:
        at_once.wait(20)
        return app.test_client().post(address, json=completed).status_code

    with ThreadPoolExecutor(COPIES) as threads:
        assert set(threads.map(call, range(COPIES))) == {204}

    # The job ended once and its cost is counted once
    assert [change.state for change in store.events.read_new(100)].count(State.COMPLETED) == 1
    assert store.statistics.totals().cost == Decimal("0.0065")
    assert [each.job.id for each in store.deliveries.claim(["fox"])] == ["fox"]


def test_repeats_count_their_cost_once(
    at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")
    for _ in range(5):
        call_back("fox", completed)
    assert store.statistics.totals().cost == Decimal("0.0065")


@pytest.mark.parametrize("job_id", ["unknown", "fox~9"])
def test_a_callback_for_an_unknown_job_succeeds(
    job_id: str, at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any]
) -> None:
    at_provider("fox")
    assert call_back(job_id, completed).status_code == 204


@pytest.mark.parametrize(
    ("body", "looked_up"),
    [
        pytest.param({"status": "completed", "output": []}, True, id="completed without images"),
        pytest.param(
            {
                "status": "completed",
                "output": [{"content": [{"url": "https://c.example.com/1"}]}],
                "usage": {"cost": ""},
            },
            True,
            id="completed without a price",
        ),
        pytest.param({"status": "failed"}, True, id="failed"),
        pytest.param(KLING, True, id="the upstream's own shape"),
        pytest.param({"status": "dreaming"}, True, id="an unknown status"),
        pytest.param({"hello": "world"}, True, id="another object"),
        pytest.param({"status": "running"}, False, id="running"),
        pytest.param({"status": "PENDING"}, False, id="waiting"),
    ],
)
def test_an_incomplete_callback_causes_a_look_up(
    *,
    body: object,
    looked_up: bool,
    at_provider: AtProvider,
    call_back: CallBack,
    store: Store,
    messages: Messages,
) -> None:
    at_provider("fox")

    assert call_back("fox", body).status_code == 204

    assert store.jobs.get("fox").state is State.IN_PROGRESS
    due = [each.job.id for each in store.attempts.claim_due(10).dues]
    assert due == (["fox"] if looked_up else [])
    assert messages("boomerang.reconcile") == ([[]] if looked_up else [])


IMAGE = {"url": "https://cdn.example.com/1.png"}
DEFECTS = {
    "a result is left out": {"output": [{"content": [IMAGE, {"url": "javascript:x"}]}]},
    "an error beside it": {"error": {"code": "1301", "message": "one image was unsafe"}},
    "more than asked for": {"output": [{"content": [IMAGE, IMAGE]}]},
    "no price": {"usage": None},
}


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_result_with_a_defect_is_only_a_hint(
    defect: dict[str, Any], at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")
    assert call_back("fox", completed | defect).status_code == 204
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_fewer_results_than_asked_for_are_only_a_hint(
    call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m", n=3)])
    store.attempts.admit(3)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_progress("fox", claim.fence, "t1")
    call_back("fox", completed)
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


@pytest.mark.parametrize("body", [{}, KLING, *DEFECTS.values()], ids=["complete", "the upstream's own shape", *DEFECTS])
def test_a_late_result_replaces_no_output(
    *,
    body: dict[str, Any],
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    store: Store,
    messages: Messages,
) -> None:
    at_provider("fox", notify=True)
    failure = Result(error={"code": NO_OUTPUT, "message": "no"}, cost=Decimal("0.0065"))
    store.attempts.finish("fox", State.FAILED, failure, "poll")
    call_back("fox", body if body is KLING else completed | body)
    job = store.jobs.get("fox")
    assert job.result
    assert (job.state, bool(job.result.output), job.result.cost) == (State.COMPLETED, True, Decimal("0.0065"))
    assert store.statistics.totals().cost == Decimal("0.0065")
    assert messages("boomerang.deliver") == [["fox"]]


@pytest.mark.parametrize("body", [KLING, {"status": "completed"}, {"status": "failed"}, {"hello": "world"}])
def test_other_late_callbacks_change_nothing(
    body: dict[str, Any], at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")
    call_back("fox", completed)
    before = store.jobs.get("fox")
    call_back("fox", body)
    assert store.jobs.get("fox") == before


def test_a_body_that_names_another_job_is_only_a_hint(
    at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    at_provider("fox")

    call_back("fox", completed | {"external_task_id": "hare"})

    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_in_confirm_mode_every_callback_is_only_a_hint(
    at_provider: AtProvider, completed: dict[str, Any], store: Store, settings: Settings
) -> None:
    confirming = Settings(**{**vars(settings), "callback_mode": CallbackMode.CONFIRM})
    at_provider("fox")

    address = callback_path("fox", settings.callback_secrets[0])
    answer = create_app(confirming, store).test_client().post(address, json=completed)

    assert answer.status_code == 204
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    assert [each.job.id for each in store.attempts.claim_due(10).dues] == ["fox"]


def test_a_callback_may_arrive_before_the_answer_to_the_submission(
    store: Store, call_back: CallBack, completed: dict[str, Any]
) -> None:
    store.jobs.enqueue([NewJob(id="fox", text="{}", model="m")])
    store.attempts.admit(1)
    (claim,) = store.attempts.claim(["fox"])

    call_back("fox", completed)

    assert store.jobs.get("fox").state is State.COMPLETED
    assert not store.attempts.mark_in_progress("fox", claim.fence, "t1")


REFUSED = [
    pytest.param("/callbacks/fox/wrong", b"{}", 403, id="a wrong token"),
    pytest.param("/callbacks/fox/%C3%A9%00", b"{}", 403, id="a token that is no text"),
    pytest.param(
        callback_path("hare", "a-callback-secret-for-tests").replace("hare", "fox"), b"{}", 403, id="another's"
    ),
    pytest.param(callback_path("fox", "a-secret-that-was-retired"), b"{}", 403, id="a retired secret's"),
    pytest.param("/callbacks/fox/wrong", b"not json", 403, id="the token before the body"),
    pytest.param("/callbacks/fox/wrong", b"x" * (256 * 1024 + 1), 413, id="the size before the token"),
]


@pytest.mark.parametrize(("path", "body", "status"), REFUSED)
def test_a_refused_callback_changes_nothing(
    *,
    path: str,
    body: bytes,
    status: int,
    at_provider: AtProvider,
    client: FlaskClient,
    store: Store,
) -> None:
    at_provider("fox")
    before = store.jobs.get("fox")

    answer = client.post(path, data=body)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert json.loads(answer.data)["detail"]
    assert store.jobs.get("fox") == before


STRANGERS = [
    pytest.param("/callbacks/fox/wrong", id="a wrong token"),
    pytest.param("/callbacks/fox/" + "A" * 32, id="a wrong token of the old form"),
    pytest.param("/callbacks/fox/abcdef." + "A" * 32, id="an unknown key id"),
    pytest.param("/callbacks/hare/wrong", id="an unknown job"),
    pytest.param("/callbacks/fox", id="no token"),
    pytest.param("/callbacks/fox/", id="an empty token"),
    pytest.param("/callbacks/hare", id="an unknown job and no token"),
    pytest.param(callback_path("fox", "a-callback-secret-for-tests") + "/more", id="more behind it"),
    pytest.param(callback_path("fox", "a-secret-that-was-retired"), id="a retired secret"),
    pytest.param(callback_path("fox~2", "a-callback-secret-for-tests").replace("~2", ""), id="another attempt's"),
]


@pytest.mark.parametrize("path", STRANGERS)
@pytest.mark.parametrize("body", [b"{}", b"not JSON", b'{"status":"completed"}'])
def test_all_refusals_without_a_valid_token_are_identical(
    path: str, body: bytes, at_provider: AtProvider, app: Flask
) -> None:
    at_provider("fox")
    client = app.test_client()
    known = client.post("/callbacks/fox/wrong", data=b"{}")

    refused = client.post(path, data=body)

    assert (refused.status_code, refused.data) == (known.status_code, known.data) == (403, known.data)
    headers = [{name: value for name, value in each.headers if name != "Date"} for each in (known, refused)]
    assert headers[0] == headers[1]


def test_a_stranger_without_a_length_gets_411(client: FlaskClient) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    assert client.post("/callbacks/fox/wrong", data=b"{}", headers=headers).status_code == 411


def test_any_configured_secret_verifies(
    at_provider: AtProvider, completed: dict[str, Any], store: Store, settings: Settings
) -> None:
    both = Settings(**{**vars(settings), "callback_secrets": ("the-new-secret-signs", "the-old-one-verifies")})
    client = create_app(both, store).test_client()
    for number, secret in enumerate(both.callback_secrets):
        job_id = at_provider(f"fox{number}")
        assert client.post(callback_path(job_id, secret), json=completed).status_code == 204
        assert store.jobs.get(job_id).state is State.COMPLETED


def test_a_callback_address_without_a_key_id_is_accepted(
    at_provider: AtProvider, completed: dict[str, Any], client: FlaskClient, settings: Settings, store: Store
) -> None:
    path, _, token = callback_path(at_provider("fox"), settings.callback_secrets[0]).rpartition("/")
    assert client.post(f"{path}/{token.partition('.')[2]}", json=completed).status_code == 204
    assert store.jobs.get("fox").state is State.COMPLETED


#: (the peer's address, X-Forwarded-For, whether the callback is accepted)
WAYS = [
    pytest.param("203.0.113.7", None, True, id="the provider itself"),
    pytest.param("::ffff:203.0.113.7", None, True, id="on a socket for both"),
    pytest.param("2001:db8::9", None, True, id="by IPv6"),
    pytest.param("198.51.100.1", None, False, id="a stranger"),
    pytest.param("198.51.100.1", "203.0.113.7", False, id="a stranger with the provider's address in the header"),
    pytest.param("10.0.0.5", "203.0.113.7", True, id="through our proxy"),
    pytest.param("10.0.0.5", "198.51.100.1", False, id="a stranger through our proxy"),
    pytest.param("10.0.0.5", "203.0.113.7, 198.51.100.1", False, id="a stranger's forged entry"),
    pytest.param("10.0.0.5", "198.51.100.1, 203.0.113.7", True, id="an entry by the provider's proxy"),
    pytest.param("10.0.0.5", "203.0.113.7, 10.0.0.6", True, id="through two of ours"),
    pytest.param("10.0.0.5", "203.0.113.7,nonsense", False, id="an entry that is none"),
    pytest.param("10.0.0.5", "203.0.113.7:4711", False, id="an entry with a port"),
    pytest.param("10.0.0.5", "", False, id="our proxy with an empty header"),
    pytest.param("10.0.0.5", "203.0.113.7" + " ," * 5000, False, id="very many"),
    pytest.param("", "203.0.113.7", False, id="no peer address"),
]


@pytest.mark.parametrize(("peer", "forwarded_for", "accepted"), WAYS)
def test_callbacks_may_be_limited_to_some_addresses(
    *,
    peer: str,
    forwarded_for: str | None,
    accepted: bool,
    at_provider: AtProvider,
    completed: dict[str, Any],
    settings: Settings,
    store: Store,
) -> None:
    limited = replace(
        settings,
        callback_addresses=(ip_network("203.0.113.0/24"), ip_network("2001:db8::/64")),
        trusted_proxies=(ip_network("10.0.0.0/8"),),
        metrics_token=METRICS_TOKEN,
    )
    client = create_app(limited, store).test_client()
    path = callback_path(at_provider("fox"), settings.callback_secrets[0])
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}

    answer = client.post(path, json=completed, headers=headers, environ_base={"REMOTE_ADDR": peer})

    assert answer.status_code == (204 if accepted else 403)
    assert store.jobs.get("fox").state is (State.COMPLETED if accepted else State.IN_PROGRESS)
    if not accepted:
        assert answer.data == client.post("/callbacks/fox/wrong", json={}, environ_base={"REMOTE_ADDR": peer}).data
        scraped = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}).text
        assert 'outcome="refused_address"' in scraped


def test_without_secrets_every_callback_is_refused(store: Store, completed: dict[str, Any]) -> None:
    answer = create_app(Settings(), store).test_client().post("/callbacks/fox/token", json=completed)
    assert answer.status_code == 403


def test_a_callback_costs_one_round_trip(
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for job_id in ("a", "b", "c"):
        at_provider(job_id)
    call_back("a", completed)  # the first callback of a process loads the scripts
    sent: list[object] = []
    original = redis.connection.AbstractConnection.send_packed_command

    def counting(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return original(self, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", counting)

    call_back("b", completed)
    call_back("c", {"status": "running"})

    assert len(sent) == 2


def test_the_end_of_a_job_sends_hints(
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    store: Store,
    messages: Messages,
) -> None:
    at_provider("fox", notify=True)
    store.jobs.enqueue([NewJob(id="waiting", text="{}", model="m")])

    call_back("fox", completed)

    assert messages("boomerang.deliver") == [["fox"]]
    assert messages("boomerang.submit") == []  # the hint of the enqueue still counts as on its way


def test_a_later_attempts_delivery_is_the_jobs(
    *,
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    store: Store,
    wait_for: WaitFor,
    messages: Messages,
) -> None:
    at_provider("fox", notify=True)
    # Given a second attempt after the first failed
    store.attempts.finish("fox", State.FAILED, Result(error={"code": "002016095", "message": "internal"}), "poll")
    wait_for(lambda: store.attempts.claim_due(10) and store.attempts.admit(10).ids)
    (claim,) = store.attempts.claim(["fox"])
    store.attempts.mark_in_progress("fox", claim.fence, "t2")

    call_back("fox~2", completed)

    assert messages("boomerang.deliver") == [["fox"]]


def test_callbacks_succeed_while_the_broker_is_unavailable(
    at_provider: AtProvider,
    completed: dict[str, Any],
    store: Store,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_provider("fox", notify=True)
    unreachable = Settings(**{**vars(settings), "broker_url": "redis://127.0.0.1:1/0"})

    address = callback_path("fox", settings.callback_secrets[0])
    answer = create_app(unreachable, store).test_client().post(address, json=completed)

    assert answer.status_code == 204
    assert store.jobs.get("fox").state is State.COMPLETED
    assert "hint not sent task=boomerang.deliver" in caplog.text


def test_without_redis_a_callback_gets_503_and_retry_after(completed: dict[str, Any], settings: Settings) -> None:
    unreachable = Settings(**{**vars(settings), "redis_url": "redis://127.0.0.1:1/0"})
    address = callback_path("fox", settings.callback_secrets[0])

    answer = create_app(unreachable).test_client().post(address, json=completed)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_outcomes_are_counted(
    at_provider: AtProvider, call_back: CallBack, completed: dict[str, Any], client: FlaskClient
) -> None:
    at_provider("fox")
    call_back("fox", completed)
    call_back("fox", completed)
    call_back("fox", b"{")
    client.post("/callbacks/fox/wrong", data=b"{}")

    text = client.get("/metrics").text

    for outcome in ("finished", "already", "unreadable", "refused_403"):
        assert f'boomerang_callbacks_total{{outcome="{outcome}"}} 1.0' in text


def test_the_log_names_the_job_but_not_the_token_or_the_body(
    at_provider: AtProvider,
    call_back: CallBack,
    completed: dict[str, Any],
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    at_provider("fox")

    call_back("fox", completed)
    call_back("fox", {"status": "a\nforged line"})

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("webhook")]
    assert "callback job=fox status=completed outcome=finished" in ours
    assert r"callback job=fox status=unknown outcome=already word='a\nforged line'" in ours
    token = callback_path("fox", settings.callback_secrets[0]).rpartition("/")[2]
    assert token not in caplog.text
    assert "cdn.example.com" not in caplog.text


WHSEC = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="


def test_with_signature_secrets_only_signed_callbacks_are_accepted(
    at_provider: AtProvider, completed: dict[str, Any], settings: Settings, store: Store
) -> None:
    at_provider("fox")
    signed_only = create_app(replace(settings, signature_secrets=(WHSEC,)), store).test_client()
    path, body = callback_path("fox", settings.callback_secrets[0]), json.dumps(completed)
    good = signed("msg-1", datetime.now(UTC), body, [WHSEC])
    old = signed("msg-1", datetime.now(UTC) - timedelta(seconds=301), body, [WHSEC])

    def post(headers: dict[str, str], text: str = body) -> int:
        return signed_only.post(path, data=text, headers=headers, content_type="application/json").status_code

    assert [post(headers) for headers in ({}, old)] == [403, 403]
    assert post(good, body.replace("0.0065", "9.0065")) == 403
    assert store.jobs.get("fox").state is State.IN_PROGRESS
    # A repeated message succeeds and changes nothing
    assert [post(good), post(good)] == [204, 204]
    assert store.jobs.get("fox").state is State.COMPLETED
    assert store.statistics.totals().cost == Decimal("0.0065")
