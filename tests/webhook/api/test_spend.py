import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.batches import BatchView
from schemas.views.spending import SpendView
from tests.support.webhook_server import Messages

IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}


@pytest.fixture
def bought(store: Store) -> Callable[..., None]:
    """Return `bought(batch, cost)`, which makes a completed job of this batch with this cost."""

    def buy(batch: str, cost: str) -> None:
        job = NewJob(id=f"{batch}.{cost}", text="{}", model="kirin_image_omni")
        store.jobs.enqueue([job], batch, BatchOptions(owner="shop"))
        store.attempts.claim(store.attempts.admit(10).ids)
        store.attempts.finish(job.id, State.COMPLETED, Result(output=(IMAGE,), cost=Decimal(cost)), "callback")

    return buy


def test_spend_is_summed_by_day_key_and_batch(client: FlaskClient, bought: Callable[..., None]) -> None:
    bought("x", "0.10")
    bought("x", "0.25")
    bought("y", "12.00")
    answer = client.get("/v1/spend?by=batch")
    assert answer.status_code == 200
    assert answer.json == {
        "by": "batch",
        "rows": [
            {"name": "y", "cost": "12", "jobs": 1, "unknown_costs": 0},
            {"name": "x", "cost": "0.35", "jobs": 2, "unknown_costs": 0},
        ],
        "cost": "12.35",
        "jobs": 3,
        "unknown_costs": 0,
    }
    assert SpendView().validate(json.loads(answer.text)) == {}
    today = datetime.now(UTC).date()
    assert [row["cost"] for row in client.get("/v1/spend").json["rows"]] == ["12.35"]
    last_year = today - timedelta(days=365)
    assert client.get(f"/v1/spend?by=key&from={last_year}&to={today}&batch=x").json["rows"] == [
        {"name": "shop", "cost": "0.35", "jobs": 2, "unknown_costs": 0}
    ]
    yesterday = today - timedelta(days=1)
    assert client.get(f"/v1/spend?to={yesterday}").json == {
        "by": "day",
        "rows": [],
        "cost": "0",
        "jobs": 0,
        "unknown_costs": 0,
    }
    assert client.get("/v1/spend?model=another&lane=default").json["jobs"] == 0


@pytest.mark.parametrize(
    ("query", "field", "remedy"),
    [
        ("by=month", "by", 'must be one of day, key, batch, model, lane, not "month"'),
        ("from=yesterday", "from", "2026-01-31"),
        ("to=2026-02-30", "to", "2026-01-31"),
        ("from=2026-02-01&to=2026-01-01", "from", "must not be after `to`, 2026-01-01"),
        ("from=2025-01-01&to=2026-01-02", "from", "366 days"),
        ("from=2020-01-01", "from", "366 days"),
        ("from=9999-01-01", "from", "366 days"),
        ("colour=red", "colour", "/docs"),
    ],
)
def test_an_invalid_spend_query_is_refused(client: FlaskClient, query: str, field: str, remedy: str) -> None:
    answer = client.get(f"/v1/spend?{query}")
    assert answer.status_code == 422
    (error,) = answer.json["errors"][field]
    assert remedy in error


def test_the_earliest_dates_are_accepted(client: FlaskClient) -> None:
    assert client.get("/v1/spend?to=0001-01-02").json["rows"] == []


def test_a_batch_shows_its_cost_limit_and_resumes_with_a_higher_one(
    client: FlaskClient, store: Store, bought: Callable[..., None], messages: Messages, raw: redis.Redis
) -> None:
    bought("x", "0.10")
    jobs = [NewJob(id=f"y{number}", text="{}", model="kirin_image_omni") for number in range(3)]
    store.jobs.enqueue(jobs, "y", BatchOptions(max_cost=Decimal("0.05")))
    assert store.attempts.admit(10).ids == ()
    view: dict[str, Any] = json.loads(client.get("/v1/batches/y").text)
    assert BatchView().validate(view) == {}
    assert view["paused"] is True
    assert (view["cost"], view["expected_cost"], view["max_cost"]) == ("0", "0.3", "0.05")
    assert "max_cost of 0.05 USD" in view["reason"]
    assert "resumed with a higher one" in view["reason"]
    assert client.get("/v1/jobs/y1").json["reason"] == view["reason"]
    raw.delete("boomerang.submit", "{b}:wake")
    changed = client.post("/v1/batches/y/resume?max_cost=0.20")
    assert (changed.status_code, changed.json["affected"]) == (200, 3)
    assert messages("boomerang.submit") == [[]]
    assert client.get("/v1/batches/y").json["max_cost"] == "0.2"
    assert store.attempts.admit(10).ids == ("y0", "y1")


@pytest.mark.parametrize("value", ["0", "-1", "lots", "NaN", "1e12", ""])
def test_an_invalid_cost_limit_is_refused(client: FlaskClient, store: Store, value: str) -> None:
    store.jobs.enqueue([], "y")
    answer = client.post(f"/v1/batches/y/resume?max_cost={value}")
    assert answer.status_code == 422
    assert answer.json["errors"]["max_cost"][0].startswith("must be ")
    assert client.get("/v1/batches/y").json["max_cost"] is None
