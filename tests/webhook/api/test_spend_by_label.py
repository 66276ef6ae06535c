"""Spending by the values of a label: of the job, or else of its batch."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
import redis
from flask.testing import FlaskClient

from jobs.audit.audit import audit
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store import lua_source
from jobs.store.store import Store
from schemas.views.spending import SpendView
from webhook.app import create_app
from webhook.settings import Settings

IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}


@pytest.fixture
def buy(store: Store) -> Callable[..., None]:
    """Return `buy(id, cost, labels, batch_labels, owner)`, which makes a completed job."""

    def make(
        job_id: str,
        cost: str,
        labels: dict[str, str],
        batch_labels: dict[str, str] | None = None,
        *,
        owner: str = "shop",
        state: State = State.COMPLETED,
    ) -> None:
        job = NewJob(id=job_id, text="{}", model="m", labels=labels, owner=owner)
        batch = None if batch_labels is None else f"of.{job_id}"
        store.jobs.enqueue([job], batch, BatchOptions(owner=owner, labels=batch_labels or {}))
        store.attempts.claim(store.attempts.admit(10).ids)
        result = Result(output=(IMAGE,), cost=Decimal(cost))
        if state is State.FAILED:
            result = Result(error={"code": "1301", "message": "no"}, cost=Decimal(cost))
        store.attempts.finish(job_id, state, result, "callback")

    return make


def rows(client: FlaskClient, query: str) -> dict[str, tuple[str, int]]:
    answer = client.get(f"/v1/spend?{query}")
    assert answer.status_code == 200, answer.text
    assert SpendView().validate(json.loads(answer.text)) == {}
    return {row["name"]: (row["cost"], row["jobs"]) for row in answer.json["rows"]}


def test_a_jobs_label_goes_before_that_of_its_batch(
    client: FlaskClient, store: Store, buy: Callable[..., None]
) -> None:
    buy("a", "0.10", {"team": "red|1"})
    buy("b", "0.25", {"team": "blue"}, {"team": "green", "season": "spring"})
    buy("c", "1", {}, {"team": "green"})
    buy("d", "7", {"teams": "other"})
    buy("e", "0.5", {"team": "blue"}, state=State.FAILED)
    assert rows(client, "by=label:team") == {"green": ("1", 1), "blue": ("0.75", 2), "red|1": ("0.1", 1)}
    assert rows(client, "by=label:season") == {"spring": ("0.25", 1)}
    assert rows(client, "by=label:none") == {}
    answer = client.get("/v1/spend?by=label:team").json
    assert (answer["by"], answer["cost"], answer["jobs"]) == ("label:team", "1.85", 4)
    assert audit(store) == []


def test_a_producer_sees_its_own_spending(
    client: FlaskClient, settings: Settings, store: Store, buy: Callable[..., None]
) -> None:
    buy("a", "1", {"team": "red"}, owner="shop")
    buy("b", "2", {"team": "red"}, owner="press")
    changed = Settings(**{**vars(settings), "api_keys": ("shop:a-key-of-the-shop-1",)})
    shop = create_app(changed, store, lambda *_: True).test_client()
    shop.environ_base["HTTP_AUTHORIZATION"] = "Bearer a-key-of-the-shop-1"
    assert rows(client, "by=label:team") == {"red": ("3", 2)}
    assert rows(client, "by=label:team&key=press") == {"red": ("2", 1)}
    assert rows(shop, "by=label:team") == {"red": ("1", 1)}
    assert rows(shop, "by=label:team&key=press") == {}


def test_values_beyond_the_limit_count_together(
    client: FlaskClient, buy: Callable[..., None], raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy("a", "1", {"team": "red"})
    (ledger,) = raw.keys("{b}:dl:*")
    raw.hset(ledger, mapping={f"$x={number}|shop": 1 for number in range(lua_source.MOST_LABELS)})
    buy("b", "2", {"team": "red"})
    buy("c", "4", {"team": "blue"})
    buy("d", "8", {"team": "green"})
    assert rows(client, "by=label:team") == {"": ("12", 2), "red": ("3", 2)}


@pytest.mark.parametrize(
    ("query", "field"),
    [("by=label:", "by"), ("by=label:a b", "by"), ("by=labels", "by"), ("by=label:a&batch=b", "batch"),
     ("by=label:a&lane=b", "lane")],
)  # fmt: skip
def test_an_invalid_query_is_refused(query: str, field: str, client: FlaskClient) -> None:
    answer = client.get(f"/v1/spend?{query}")
    assert (answer.status_code, list(answer.json["errors"])) == (422, [field])
