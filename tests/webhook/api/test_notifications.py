"""Who is notified of what, and where, as producers ask for it over HTTP."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.job import Delivery
from jobs.key_limits import KeyLimits
from jobs.store.store import Store
from webhook.app import create_app
from webhook.settings import Settings

HOOK = "https://hooks.shop.example/jobs"
NDJSON = {"Content-Type": "application/x-ndjson"}
SHOP = {"Authorization": "Bearer key-of-the-shop"}


@pytest.fixture
def make_client(redis_url: str, store: Store) -> Any:
    def make(**settings: Any) -> FlaskClient:
        given = Settings(**{"redis_url": redis_url, "api_keys": ("shop:key-of-the-shop",), **settings})
        return create_app(given, Store(store.context.client, given)).test_client()

    return make


def enqueue(client: FlaskClient, fox: dict[str, Any], *ids: str, url: str = HOOK) -> int:
    lines = "\n".join(json.dumps(fox | {"external_task_id": each, "callback_url": url}) for each in ids[1:])
    single = client.post("/v1/jobs", json=fox | {"external_task_id": ids[0], "callback_url": url}, headers=SHOP)
    batch = client.post("/v1/batches", data=lines, headers=SHOP | NDJSON)
    # A batch takes its other lines.
    assert batch.json["rejected"] == (len(ids) - 1 if single.status_code == 422 else 0), batch.text
    return single.status_code


def test_a_job_that_never_began_notifies_nobody(make_client: Any, fox: dict[str, Any], store: Store) -> None:
    client = make_client()
    assert enqueue(client, fox, "one", "two", "three") == 201
    assert set(store.attempts.admit(2).ids) <= {"one@shop", "two@shop", "three@shop"}
    for each in ("one", "two", "three"):
        assert client.post(f"/v1/jobs/{each}/cancel", headers=SHOP).status_code == 200
        assert store.jobs.get(f"{each}@shop").owed == frozenset()


def test_a_job_that_began_is_notified(make_client: Any, fox: dict[str, Any], store: Store) -> None:
    client = make_client()
    enqueue(client, fox, "one", "two")
    store.attempts.claim(store.attempts.admit(2).ids)
    for each in ("one", "two"):
        client.post(f"/v1/jobs/{each}/cancel", headers=SHOP)
        assert store.jobs.get(f"{each}@shop").owed == {Delivery.NOTIFY}


@pytest.mark.parametrize("hosts", [("hooks.shop.example",), ("*.shop.example",), ("*",)])
def test_hosts_that_the_operator_lists_are_notified_of_all(
    make_client: Any, fox: dict[str, Any], store: Store, hosts: tuple[str, ...]
) -> None:
    client = make_client(key_limits={"shop": KeyLimits(callback_hosts=hosts)})
    enqueue(client, fox, "one", "two")
    for each in ("one", "two"):
        client.post(f"/v1/jobs/{each}/cancel", headers=SHOP)
        assert store.jobs.get(f"{each}@shop").owed == {Delivery.NOTIFY}


@pytest.mark.parametrize("url", ["https://third.party.example/", "https://hooks.shop.example:8443/"])
def test_other_hosts_and_ports_are_refused(make_client: Any, fox: dict[str, Any], url: str) -> None:
    client = make_client(key_limits={"shop": KeyLimits(callback_hosts=("hooks.shop.example",))})
    assert enqueue(client, fox, "one", "two", url=url) == 422


def test_the_operator_may_allow_ports(make_client: Any, fox: dict[str, Any]) -> None:
    url = "https://hooks.shop.example:8443/"
    assert enqueue(make_client(), fox, "a1", "a2", url=url) == 422
    assert enqueue(make_client(allowed_callback_ports=(443, 8443)), fox, "b1", "b2", url=url) == 201
    assert enqueue(make_client(allowed_callback_ports=()), fox, "c1", "c2", url=url) == 201
    assert enqueue(make_client(allow_private_hosts=True), fox, "d1", "d2", url="http://127.0.0.1:9/") == 201
