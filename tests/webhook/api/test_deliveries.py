"""The log of notifications over HTTP: whose it is, sending some again, and the health of receivers."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.delivery_log import Attempt
from jobs.key_limits import KeyLimits
from jobs.receivers import receiver_of
from jobs.store.store import Store
from webhook.access.rate_limits import Rate
from webhook.api import deliveries
from webhook.app import create_app
from webhook.settings import Settings

HOOK = "https://hooks.shop.example/jobs?token=secret"
ENDED = ("one", "two", "three")


@pytest.fixture
def clients(redis_url: str, store: Store) -> dict[str, FlaskClient]:
    keys = ("shop:key-of-the-shop", "press:key-of-the-press")
    anywhere = KeyLimits(callback_hosts=("*",))
    settings = Settings(
        redis_url=redis_url,
        api_keys=keys,
        admin_keys=("boss:key-of-the-boss",),
        key_limits={"shop": anywhere, "press": anywhere},
    )
    app, found = create_app(settings, Store(store.context.client, settings)), {}
    for name in ("shop", "press", "boss"):
        found[name] = app.test_client()
        found[name].environ_base["HTTP_AUTHORIZATION"] = f"Bearer key-of-the-{name}"
    return found


@pytest.fixture
def shop(clients: dict[str, FlaskClient], store: Store, fox: dict[str, Any]) -> FlaskClient:
    """The shop, with three jobs that have ended, and whose notifications failed."""
    client = clients["shop"]
    for each in ENDED:
        client.post("/v1/jobs", json=fox | {"external_task_id": each, "callback_url": HOOK})
        client.post(f"/v1/jobs/{each}/cancel")
    for each in ENDED[1:]:
        attempt(store, f"{each}@shop", "ReadTimeout", wait=None if each == "three" else 60.0)
    return client


def attempt(store: Store, job_id: str, why: str = "", wait: float | None = None) -> None:
    (due,) = store.deliveries.claim([job_id])
    turn = store.deliveries.begin_notification(due, receiver_of(HOOK), 10)
    tried = Attempt(
        id="x", at=due.now, address="https://hooks.shop.example/jobs?token=…", status=None, took=1, error=why
    )
    store.deliveries.end_notification(due, turn, limit=10, random=0.5, retry_in=wait, why=why, attempt=tried)


def listed(client: FlaskClient, query: str = "") -> dict[str, str]:
    return {each["job"]: each["state"] for each in client.get(f"/v1/deliveries?{query}").json["deliveries"]}


def test_a_producer_sees_its_deliveries_and_nobody_elses(shop: FlaskClient, clients: dict[str, FlaskClient]) -> None:
    states = {"one": "pending", "two": "failed", "three": "given_up"}
    assert listed(shop) == states
    assert listed(clients["boss"]) == states
    assert listed(clients["press"]) == {}
    assert listed(shop, "state=failed&state=given_up") == {"two": "failed", "three": "given_up"}
    assert listed(shop, "host=hooks.shop.example&limit=1") == {"three": "given_up"}
    assert listed(shop, "host=other.example") == {}
    assert listed(shop, "since=2100-01-01") == {}
    assert "secret" not in shop.get("/v1/deliveries").text
    assert clients["press"].get("/v1/jobs/two/deliveries").status_code == 404
    assert clients["press"].get("/v1/receivers").json == {"receivers": []}
    assert clients["press"].post("/v1/deliveries/replay").json["replayed"] == 0
    assert clients["press"].post("/v1/jobs/two/deliveries/replay").status_code == 404
    assert clients["press"].post("/v1/receivers/hooks.shop.example/enable").status_code == 404


def test_pages(shop: FlaskClient) -> None:
    first = shop.get("/v1/deliveries?limit=2").json
    second = shop.get(f"/v1/deliveries?limit=2&cursor={first['cursor']}").json
    assert [each["job"] for each in first["deliveries"] + second["deliveries"]] == ["three", "two", "one"]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    "query", ["state=lost", "cursor=x", "cursor=bm90", "cursor=W10", "limit=0", "since=then", "host="]
)
def test_a_bad_query_is_refused(shop: FlaskClient, query: str) -> None:
    assert shop.get(f"/v1/deliveries?{query}").status_code == 422


@pytest.mark.parametrize(
    "cursor",
    [
        "5", "null", "true", "{}", '"ab"', "[null,1]", '[1e999,"a"]', '["1","a"]', '[1.5,"a"]', '[-1,"a"]', "[1,2]",
        f'[{"9" * 40},"a"]', '[1,"a","b"]', '[NaN,"a"]', "[" * 250, '["a",1]',
    ],
)  # fmt: skip
def test_a_made_up_cursor_is_refused(cursor: str, shop: FlaskClient) -> None:
    made_up = urlsafe_b64encode(cursor.encode()).decode().rstrip("=")
    assert shop.get(f"/v1/deliveries?cursor={made_up}").status_code == 422
    assert shop.post(f"/v1/deliveries/replay?cursor={made_up}").status_code == 422


def test_one_job(shop: FlaskClient, fox: dict[str, Any], store: Store) -> None:
    (delivery,) = shop.get("/v1/jobs/two/deliveries").json["deliveries"]
    assert (delivery["event"], delivery["state"], delivery["error"]) == ("job.cancelled", "failed", "ReadTimeout")
    (tried,) = delivery["attempts"]
    assert (tried["error"], tried["status"], tried["took"]) == ("ReadTimeout", None, 1)
    assert shop.post("/v1/jobs/three/deliveries/replay").json["replayed"] == 1
    attempt(store, "three@shop")
    assert listed(shop)["three"] == "delivered"
    # What was accepted can be sent again, too
    assert shop.post("/v1/jobs/three/deliveries/replay").json == {"replayed": 1, "skipped": 0, "cursor": None}
    shop.post("/v1/jobs", json=fox | {"external_task_id": "quiet"})
    assert shop.get("/v1/jobs/quiet/deliveries").json == {"deliveries": []}
    assert shop.post("/v1/jobs/quiet/deliveries/replay").status_code == 409


def test_a_replay_of_many(shop: FlaskClient, store: Store) -> None:
    assert shop.post("/v1/deliveries/replay").json["replayed"] == 2
    assert store.jobs.get("three@shop").owed
    assert shop.post("/v1/deliveries/replay?state=delivered").json["replayed"] == 0


def test_replays_of_a_producer_are_bounded(
    shop: FlaskClient, clients: dict[str, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "REPLAYS", Rate(3, "hour"))
    assert shop.post("/v1/deliveries/replay").json["replayed"] == 2
    assert shop.post("/v1/jobs/three/deliveries/replay").status_code == 200
    for path in ("/v1/jobs/three/deliveries/replay", "/v1/deliveries/replay?state=pending"):
        refused = shop.post(path)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 1000
    assert shop.get("/v1/deliveries").status_code == 200
    assert clients["press"].post("/v1/deliveries/replay").status_code == 200


def test_a_replay_at_a_host_enables_it(shop: FlaskClient, store: Store) -> None:
    key = "{b}:n:shop|hooks.shop.example"
    store.context.client.hset(key, mapping={"disabled_at": 1_700_000_000_000_000, "failures": 5})
    (receiver,) = shop.get("/v1/receivers").json["receivers"]
    assert (receiver["name"], receiver["state"], receiver["error"]) == ("hooks.shop.example", "disabled", "ReadTimeout")
    assert shop.post("/v1/deliveries/replay?host=hooks.shop.example").json["replayed"] == 2
    assert shop.get("/v1/receivers").json["receivers"][0]["state"] == "healthy"
    store.context.client.hset(key, "disabled_at", 1_700_000_000_000_000)
    (enabled,) = shop.post("/v1/receivers/hooks.shop.example/enable").json["receivers"]
    assert (enabled["state"], enabled["disabled_at"]) == ("healthy", None)


LINE = '{"model": "kirin_image_omni", "prompt": "a fox"}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}


def test_a_batch_notifies_its_own_address(clients: dict[str, FlaskClient], store: Store) -> None:
    shop = clients["shop"]
    assert shop.post(f"/v1/batches?id=spring&callback_url={HOOK}", data=LINE, headers=NDJSON).status_code == 201
    # Other uploads may leave the address out, and may not change it
    assert shop.post("/v1/batches?id=spring", data=LINE, headers=NDJSON).status_code == 201
    refused = shop.post("/v1/batches?id=spring&callback_url=https://other.example/", data=LINE, headers=NDJSON)
    assert "callback_url" in refused.json["errors"]
    shop.post("/v1/batches/spring/cancel")
    (delivery,) = shop.get("/v1/batches/spring/deliveries").json["deliveries"]
    assert (delivery["batch"], delivery["job"], delivery["event"]) == ("spring", None, "batch.finished")
    assert [each["event"] for each in shop.get("/v1/deliveries").json["deliveries"]] == ["batch.finished"]
    assert clients["press"].get("/v1/batches/spring/deliveries").status_code == 404


@pytest.mark.parametrize("url", ["ftp://shop.example/", "http://127.0.0.1/", "https://shop.example:6379/", "shop", ""])
def test_a_bad_address_of_a_batch_is_refused(clients: dict[str, FlaskClient], url: str) -> None:
    refused = clients["shop"].post(f"/v1/batches?id=spring&callback_url={url}", data=LINE, headers=NDJSON)
    assert refused.status_code == 422
    assert "callback_url" in refused.json["errors"]
    assert clients["shop"].get("/v1/batches/spring").status_code == 404
