import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.job import Delivery
from jobs.liveness import STALLED_AFTER, WorkerState
from jobs.new_job import NewJob
from jobs.receivers import FAILURES_TO_OPEN
from jobs.store.store import Store
from jobs.task_names import DELIVER, RECONCILE, SUBMIT
from schemas.views.problems import Readiness
from tests.support.webhook_server import AtProvider
from webhook.app import create_app
from webhook.settings import Settings

UNREACHABLE = "redis://127.0.0.1:1/0"


TOKEN = "a-token-for-metrics"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}
ADMIN, PRODUCER = "an-administrators-key", "a-producers-own-key-1"


def ask(settings: Settings, path: str, store: Store | None = None) -> Any:
    return create_app(replace(settings, metrics_token=TOKEN), store).test_client().get(path, headers=WITH_TOKEN)


def test_readyz_lists_all_dependencies(app: Flask) -> None:
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 200
    assert Readiness().validate(json.loads(answer.text)) == {}
    assert answer.json == {
        "ready": True,
        "dependencies": {
            "redis": "ok",
            "broker": "ok",
            "api_keys": "ok",
            "callbacks": "ok",
            "room": "ok",
            "lanes": "ok",
            "workers": "ok",
        },
        "troubles": [],
        "last_round_age": None,
    }


def test_readyz_names_the_unavailable_dependency(settings: Settings, store: Store) -> None:
    for variable in ("redis", "broker"):
        unreachable = Settings(**{**vars(settings), f"{variable}_url": UNREACHABLE})
        given = None if variable == "redis" else store

        answer = ask(unreachable, "/readyz", given)

        assert answer.status_code == 503
        dependencies = answer.json["dependencies"]
        assert [name for name, note in dependencies.items() if note.startswith("down")] == [variable]
        assert UNREACHABLE not in answer.text
        assert ask(unreachable, "/healthz", given).status_code == 200


def test_readyz_names_what_is_off_or_held_and_stays_ready(settings: Settings, store: Store) -> None:
    store.lanes.hold("402: balance exhausted", base=60, cap=60)
    minimal = Settings(redis_url=settings.redis_url, broker_url=settings.broker_url)

    answer = ask(minimal, "/readyz", store)

    assert answer.status_code == 200
    note = answer.json["dependencies"]
    assert "BOOMERANG_API_KEYS" in note["api_keys"]
    assert "BOOMERANG_CALLBACK_SECRETS" in note["callbacks"]
    assert "402: balance exhausted" in note["lanes"]


def test_a_stall_is_reported_and_the_webhook_stays_ready(client: FlaskClient, store: Store, raw: Any) -> None:
    store.liveness.beat(WorkerState.READING, [SUBMIT, RECONCILE, DELIVER])
    store.attempts.claim_due(1)
    get = client.get
    assert get("/readyz").json["last_round_age"] < STALLED_AFTER
    hour_ago = str(int((time.time() - 3600) * 1e6))
    for key in ("totals", "heartbeats"):
        name = store.context.keys.singleton(key)
        raw.hset(name, mapping=dict.fromkeys(raw.hkeys(name), hour_ago))

    answer = get("/readyz")

    assert answer.status_code == 200
    assert Readiness().validate(json.loads(answer.text)) == {}
    assert answer.json["ready"] is True
    assert answer.json["dependencies"]["workers"].startswith("no_worker: ")
    (trouble,) = answer.json["troubles"]
    assert (trouble["code"], bool(trouble["what"]), bool(trouble["do"])) == ("no_worker", True, True)
    assert answer.json["last_round_age"] == pytest.approx(3600, abs=60)
    lines = get("/metrics").text.splitlines()
    assert 'boomerang_trouble{code="no_worker"} 1.0' in lines
    assert 'boomerang_trouble{code="beat_away"} 0.0' in lines
    assert 'boomerang_dead_ends{kind="service"} 1.0' in lines
    (age,) = [float(line.split()[1]) for line in lines if line.startswith("boomerang_last_round_age_seconds ")]
    assert age == pytest.approx(3600, abs=60)


def test_metrics_show_the_state(client: FlaskClient, at_provider: AtProvider, fox: dict[str, Any]) -> None:
    at_provider("fox")
    client.post("/v1/jobs", json=fox)

    answer = client.get("/metrics")

    assert answer.content_type.startswith("text/plain")
    lines = answer.text.splitlines()
    for line in (
        "boomerang_store_up 1.0",
        'boomerang_jobs{state="in_progress"} 1.0',
        'boomerang_jobs{state="queued"} 1.0',
        'boomerang_slots{lane="default"} 1.0',
        'boomerang_ready{pool=""} 1.0',
        'boomerang_held{lane="default"} 0.0',
        'boomerang_dead_ends{kind="in_doubt"} 0.0',
        'boomerang_dead_ends{kind="delivery"} 0.0',
        'boomerang_jobs_received_total{outcome="created"} 1.0',
    ):
        assert line in lines


def test_metrics_are_served_without_redis(settings: Settings) -> None:
    answer = ask(Settings(**{**vars(settings), "redis_url": UNREACHABLE}), "/metrics")
    assert answer.status_code == 200
    assert "boomerang_store_up 0.0" in answer.text.splitlines()
    assert "boomerang_jobs{" not in answer.text


def test_hints_are_counted(client: FlaskClient, fox: dict[str, Any]) -> None:
    client.post("/v1/jobs", json=fox)
    assert 'boomerang_hints_total{sent="yes",task="boomerang.submit"} 1.0' in client.get("/metrics").text


@pytest.fixture
def public(settings: Settings, store: Store) -> FlaskClient:
    """A client without a key, of a service with every kind of key."""
    own = replace(settings, api_keys=(f"shop:{PRODUCER}",), admin_keys=(f"boss:{ADMIN}",), metrics_token=TOKEN)
    return create_app(own, store).test_client()


#: Authorization -> whether details are for its sender.
CALLERS = [
    pytest.param({}, False, id="nobody"),
    pytest.param({"Authorization": f"Bearer {PRODUCER}"}, False, id="a producer"),
    pytest.param({"Authorization": "Bearer wrong"}, False, id="a wrong key"),
    pytest.param({"Authorization": f"Bearer {TOKEN}x"}, False, id="a longer token"),
    pytest.param({"Authorization": TOKEN}, False, id="the token without its scheme"),
    pytest.param({"Authorization": "Basic é"}, False, id="another scheme"),
    pytest.param(WITH_TOKEN, True, id="the metrics token"),
    pytest.param({"Authorization": f"Bearer {ADMIN}"}, True, id="an administrator"),
]


@pytest.mark.parametrize(("headers", "allowed"), CALLERS)
def test_metrics_are_for_operators(headers: dict[str, str], allowed: bool, public: FlaskClient) -> None:
    answer = public.get("/metrics", headers=headers)
    assert answer.status_code == (200 if allowed else 401)
    assert ("boomerang_" in answer.text) is allowed
    assert allowed or answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("headers", "allowed"), CALLERS)
def test_readyz_gives_details_to_operators_only(
    headers: dict[str, str], allowed: bool, public: FlaskClient, store: Store
) -> None:
    store.lanes.hold("402: balance exhausted", base=60, cap=60)
    answer = public.get("/readyz", headers=headers)
    assert answer.status_code == 200
    assert Readiness().validate(json.loads(answer.text)) == {}
    assert ("402: balance exhausted" in answer.text) is allowed
    assert ("default" in answer.text) is allowed
    assert (answer.json["dependencies"]["lanes"] == "not ok") is not allowed
    assert answer.json["dependencies"]["redis"] == "ok"


@pytest.mark.parametrize("headers", [{}, WITH_TOKEN, {"Authorization": f"Bearer bmr_{'0' * 12}_{'A' * 43}"}])
def test_readyz_answers_whatever_is_away_and_sent(headers: dict[str, str], settings: Settings) -> None:
    away = replace(settings, redis_url=UNREACHABLE, broker_url=UNREACHABLE, metrics_token=TOKEN)
    answer = create_app(away).test_client().get("/readyz", headers=headers)
    assert (answer.status_code, answer.json["ready"]) == (503, False)
    assert answer.json["dependencies"]["redis"].startswith("down")


def test_an_administrator_who_logged_in_reads_details(public: FlaskClient, store: Store) -> None:
    store.lanes.hold("402: balance exhausted", base=60, cap=60)
    for secret, allowed in ((PRODUCER, False), (ADMIN, True)):
        found = re.search(r'name="csrf_token" value="([^"]+)"', public.get("/login").text)
        assert found
        assert public.post("/login", data={"csrf_token": found[1], "key": secret}).status_code == 303
        assert ("402: balance exhausted" in public.get("/readyz").text) is allowed
        assert public.get("/metrics").status_code == (200 if allowed else 401)


def test_notifications_are_counted_without_names_of_receivers(client: FlaskClient, store: Store) -> None:
    owed = frozenset({Delivery.NOTIFY})
    ids = [f"job-{number}" for number in range(FAILURES_TO_OPEN + 1)]
    store.jobs.enqueue([NewJob(id=each, text="{}", model="kirin_image_omni", owed=owed, owner="shop") for each in ids])
    for each in ids:
        store.jobs.cancel(each)
    turns = [(due, store.deliveries.begin_notification(due, "a.example", 100)) for due in store.deliveries.claim(ids)]

    def figures() -> list[str]:
        names = ("boomerang_notifications", "boomerang_receivers")
        return [line for line in client.get("/metrics").text.splitlines() if line.startswith(names)]

    assert figures() == [
        f"boomerang_notifications {FAILURES_TO_OPEN}.0",
        f"boomerang_notifications_to_one_receiver {FAILURES_TO_OPEN}.0",
        "boomerang_notifications_waiting_producers 1.0",
        "boomerang_receivers_open 0.0",
    ]
    for due, turn in turns[:FAILURES_TO_OPEN]:
        store.deliveries.end_notification(due, turn, limit=100, random=0.5, retry_in=60, why="ReadTimeout", begin=0)
    assert figures()[0] == "boomerang_notifications 0.0"
    assert figures()[-1] == "boomerang_receivers_open 1.0"
