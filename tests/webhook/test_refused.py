"""When Redis does not hold the jobs that it should, producers and provider get 503 with the reason."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from jobs.states import State
from jobs.store.store import Store
from tests.support.webhook_server import AtProvider, CallBack

PROBLEM = "application/problem+json"


def lines(count: int = 2) -> bytes:
    return b'{"model": "kirin_image_omni", "prompt": "a fox"}\n' * count


#: Every call that adds work.
WORK: dict[str, Callable[[FlaskClient, dict[str, Any]], Any]] = {
    "a job": lambda client, fox: client.post("/v1/jobs", json=fox),
    "a batch": lambda client, _: client.post("/v1/batches?id=new", data=lines(), content_type="application/x-ndjson"),
    "all lines or none": lambda client, _: client.post(
        "/v1/batches?id=new&on_error=abort", data=lines(), content_type="application/x-ndjson"
    ),
    "a retry": lambda client, _: client.post("/v1/jobs/owl/retry"),
    "a retry of a batch": lambda client, _: client.post("/v1/batches/flock/retry"),
}
REASON = "Redis came back older"
LOSSES = {
    "lost": lambda store, raw: store.continuity.refuse(store.continuity.standing(), REASON, None),
    "empty": lambda store, raw: raw.delete("{b}:epoch"),
}


@pytest.fixture(params=LOSSES)
def lost(request: pytest.FixtureRequest, store: Store, raw: redis.Redis) -> str:
    return str(request.param)


@pytest.fixture
def lose(lost: str, store: Store, raw: redis.Redis, at_provider: AtProvider) -> Callable[[], None]:
    """Return `lose()`, after which work is refused. "ant" is in progress and "owl" was cancelled."""
    for name in ("ant", "owl"):
        at_provider(name)
    store.jobs.cancel("owl")
    return lambda: LOSSES[lost](store, raw)


@pytest.mark.parametrize("work", WORK)
def test_refused_work_gets_503_until_recovery(
    work: str, lose: Callable[[], None], client: FlaskClient, fox: dict[str, Any], store: Store
) -> None:
    lose()
    before = store.statistics.totals().counts
    answer = WORK[work](client, fox)
    assert (answer.status_code, answer.content_type) == (503, PROBLEM)
    assert "boomerang-server recover" in answer.json["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert store.statistics.totals().counts == before
    # Work is accepted after the recovery by an operator
    store.continuity.recover()
    assert WORK[work](client, fox).status_code < 500


def test_the_providers_contract_refuses_work_too(
    lose: Callable[[], None], client: FlaskClient, fox: dict[str, Any]
) -> None:
    lose()
    answer = client.post("/model/v1/generation", json=fox)
    assert answer.status_code == 503
    assert "boomerang-server recover" in answer.json["error"]["message"]


def test_an_upload_refused_midway_reports_its_progress(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.api.upload_lines.CHUNK_JOBS", 2)
    enqueue, calls = store.jobs.enqueue, []

    def lose_at_third_call(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            store.continuity.refuse(store.continuity.standing(), REASON, None)
        return enqueue(*args, **kwargs)

    monkeypatch.setattr(store.jobs, "enqueue", lose_at_third_call)
    answer = client.post("/v1/batches?id=new", data=lines(6), content_type="application/x-ndjson")
    assert (answer.status_code, answer.json["accepted"]) == (503, 2)
    assert "boomerang-server recover" in answer.json["detail"]


@pytest.mark.parametrize("known", [True, False], ids=["a job that is known", "a job that is not"])
def test_callbacks_for_known_jobs_are_accepted(
    known: bool, lose: Callable[[], None], call_back: CallBack, completed: dict[str, Any], store: Store
) -> None:
    lose()
    answer = call_back("ant" if known else "bat", completed)
    # The provider repeats a callback for a job that may be lost. A known job ends at once
    assert answer.status_code == (204 if known else 503)
    if known:
        assert store.jobs.get("ant").state is State.COMPLETED
    store.continuity.recover()
    assert call_back("bat", completed).status_code == 204


def test_jobs_can_be_read_while_work_is_refused(lose: Callable[[], None], client: FlaskClient) -> None:
    lose()
    assert client.get("/v1/jobs/ant").json["status"] == "in_progress"
    assert client.get("/v1/jobs").status_code == 200


def test_readyz_and_metrics_report_the_refusal(
    lost: str, lose: Callable[[], None], client: FlaskClient, store: Store
) -> None:
    assert "boomerang_refused 0.0" in client.get("/metrics").text
    lose()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["ready"]) == (503, False)
    assert "boomerang-server recover" in answer.json["dependencies"]["redis"]
    assert (REASON in answer.json["dependencies"]["redis"]) == (lost == "lost")
    assert "boomerang_refused 1.0" in client.get("/metrics").text
    assert 'boomerang_dead_ends{kind="installation"} 1.0' in client.get("/metrics").text
    store.continuity.recover()
    assert client.get("/readyz").json["dependencies"]["redis"] == "ok"
    assert "boomerang_refused 0.0" in client.get("/metrics").text


def test_a_record_of_another_type_is_refused(client: FlaskClient, raw: redis.Redis, fox: dict[str, Any]) -> None:
    raw.delete("{b}:epoch")
    raw.set("{b}:epoch", "x")
    assert client.post("/v1/jobs", json=fox).status_code == 503
    assert client.get("/readyz").status_code == 503
    assert client.get("/metrics").status_code == 200
