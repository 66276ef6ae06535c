"""GET /v1/lanes, /readyz and /metrics: the state and the faults of every lane."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.connections.client import connect
from jobs.lane_health import FAILURES_TO_OPEN, Reachability
from jobs.lanes import LaneSettings, pooled
from jobs.new_job import NewJob
from jobs.store.store import Store
from schemas.views.lanes import LaneList
from tests.support.webhook_server import AtProvider
from webhook.app import create_app
from webhook.settings import Settings

LANES = pooled(
    (LaneSettings(name="a", models=("kirin_*",), max_in_flight=30, learn_limit=True), LaneSettings(name="b"))
)


@pytest.fixture
def several(settings: Settings) -> Settings:
    return Settings(**{**vars(settings), "named_lanes": LANES})


@pytest.fixture
def stores(several: Settings) -> Iterator[Callable[..., Store]]:
    """Return `stores(*lanes)`, which makes the store of a process with these lanes."""
    clients = []

    def of(*lanes: LaneSettings) -> Store:
        clients.append(connect(several.redis_url))
        return Store(clients[-1], Settings(**{**vars(several), "named_lanes": lanes}))

    yield of
    for each in clients:
        each.close()


@pytest.fixture
def get(several: Settings, client: FlaskClient, store: Store) -> Callable[[str], Any]:
    """Return `get(path)`, which asks a webhook process with both lanes."""
    app = create_app(several).test_client()
    app.environ_base["HTTP_AUTHORIZATION"] = client.environ_base["HTTP_AUTHORIZATION"]
    return app.get


def open_breaker(store: Store, lane: LaneSettings) -> None:
    """Record enough unanswered submissions to open the lane's breaker."""
    store.jobs.enqueue(
        [NewJob(id=f"s{number}", text="{}", model="m", pool=lane.pool) for number in range(FAILURES_TO_OPEN)]
    )
    for claim in store.attempts.claim(store.attempts.admit(FAILURES_TO_OPEN, lane).ids):
        store.attempts.mark_in_doubt(claim.id, claim.fence, "ReadTimeout", reachability=Reachability.SILENCE)


def test_a_lane_shows_its_slots_and_its_hold(client: FlaskClient, at_provider: AtProvider, store: Store) -> None:
    at_provider("fox")
    view = json.loads(client.get("/v1/lanes").text)
    assert LaneList().validate(view) == {}
    (lane,) = view["lanes"]
    assert (lane["name"], lane["slots"], lane["held"], lane["spent"]) == ("default", 1, False, "0")
    assert (lane["breaker"], lane["learned_limit"], lane["history"]) == ("closed", None, [])

    store.lanes.hold("402: balance exhausted", base=60, cap=60)

    (lane,) = client.get("/v1/lanes").json["lanes"]
    assert (lane["held"], lane["reason"]) == (True, "402: balance exhausted")
    assert datetime.fromisoformat(lane["held_until"]) > datetime.now(UTC)


def test_healthy_lanes_are_listed_and_ready(get: Callable[[str], Any]) -> None:
    view = get("/v1/lanes").json
    assert LaneList().validate(view) == {}
    rules = [(lane["name"], lane["pool"], lane["models"], lane["max_in_flight"]) for lane in view["lanes"]]
    assert rules == [("a", "a", ["kirin_*"], 30), ("b", "", [], 0)]
    assert get("/readyz").json["dependencies"]["lanes"] == "ok"


def test_an_open_breaker_and_a_learned_limit_are_reported(
    get: Callable[[str], Any], stores: Callable[..., Store]
) -> None:
    a, b = LANES
    store = stores(*LANES)
    store.jobs.enqueue([NewJob(id=f"j{number}", text="{}", model="kirin", pool="a") for number in range(40)])
    store.attempts.claim(store.attempts.admit(40, a).ids)
    store.lanes.hold("429: 1303 too many", base=60.0, cap=60.0, throttled=True, lane="a")
    open_breaker(store, b)

    view = get("/v1/lanes").json

    assert LaneList().validate(view) == {}
    first, second = view["lanes"]
    assert (first["slots"], first["max_in_flight"], first["learned_limit"], first["limit"]) == (30, 30, 21.0, 21)
    assert [(each["what"], each["limit"], each["reason"]) for each in first["history"]] == [
        ("limit", 21.0, "429: 1303 too many")
    ]
    assert (second["breaker"], second["reason"], second["breaker_opened"]) == ("open", "ReadTimeout", 1)
    assert second["held_since"] == second["breaker_since"] == second["history"][0]["at"]
    assert second["held"]
    ready = get("/readyz")
    assert ready.status_code == 200
    note = ready.json["dependencies"]["lanes"]
    assert "a is on hold" in note
    assert "b has not answered" in note
    lines = get("/metrics").text.splitlines()
    for line in (
        'boomerang_slots_limit{lane="a"} 21.0',
        'boomerang_slots_limit{lane="b"} 0.0',
        'boomerang_held{lane="b"} 1.0',
        'boomerang_breaker_open{lane="a"} 0.0',
        'boomerang_breaker_open{lane="b"} 1.0',
        'boomerang_breaker_opened_total{lane="b"} 1.0',
    ):
        assert line in lines


def test_a_removed_lane_with_jobs_is_named(get: Callable[[str], Any], stores: Callable[..., Store]) -> None:
    removed = LaneSettings(name="removed", pool="removed")
    before = stores(removed)
    before.jobs.enqueue([NewJob(id=name, text="{}", model="m", pool="removed") for name in ("one", "two")])
    before.attempts.claim(before.attempts.admit(1, removed).ids)

    view = get("/v1/lanes").json

    assert LaneList().validate(view) == {}
    seen = [(lane["name"], lane["pool"], lane["configured"], lane["slots"], lane["ready"]) for lane in view["lanes"]]
    assert seen[2:] == [("removed", "@removed", False, 1, 0), ("removed", "removed", False, 0, 1)]
    note = get("/readyz").json["dependencies"]["lanes"]
    assert "removed is not in BOOMERANG_LANES, but has jobs left: 1 wait, 0 slots in use" in note
    assert 'lane="removed"' not in get("/metrics").text
