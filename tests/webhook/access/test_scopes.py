"""What each scope permits: only a key with `enqueue` can make the service buy."""

from collections.abc import Callable
from itertools import chain, combinations, product

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'
#: Bulk actions that may buy: also one that is not valid.
BULK = [
    b'{"action":"retry","filter":{}}',
    b'{"action":"resume","filter":{}}',
    b'{"action":"priority","filter":{},"priority":"high"}',
    b'{"action":"retry","filter":{"unknown":1}}',
]
LESS = [set(some) for some in chain.from_iterable(combinations((Scope.READ, Scope.CANCEL), n) for n in (1, 2))]


@pytest.fixture
def as_scopes(store: Store) -> Callable[..., FlaskClient]:
    ring = KeyRing(store.context.client, store.context.keys)

    def made(*scopes: Scope) -> FlaskClient:
        client = create_app(Settings(), store, lambda *_: True).test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {ring.add('shop', scopes)[1]}"
        return client

    return made


@pytest.fixture
def shop(as_scopes: Callable[..., FlaskClient], store: Store) -> FlaskClient:
    """The producer, with one job and batch of every kind that an action can start again."""
    client = as_scopes(*Scope)
    for name in ("running", "paused", "failed"):
        assert client.post(f"/v1/batches?id={name}&max_cost=5", data=LINE * 2).status_code == 201
    store.batches.pause(own("paused", "shop"))
    store.jobs.pause(own("running.2", "shop"))
    for lot in (["failed.1"], ["failed.2"]):
        store.attempts.admit(1)
        for claim in store.attempts.claim([*lot, "running.1"]):
            error = Result(error={"code": "1201", "message": "no"})
            store.attempts.finish(claim.id, State.FAILED, error, "submit", fence=claim.fence)
    retry = {"action": "retry", "filter": {"batch": "failed"}, "dry_run": True}
    assert as_scopes(Scope.READ, Scope.ENQUEUE).post("/v1/bulk", json=retry).status_code == 201
    return client


def facts(store: Store) -> list[object]:
    """What decides whether something is bought: caps, pauses, states and attempts."""
    found: list[object] = []
    for name in ("running", "paused", "failed"):
        batch = store.batches.get(own(name, "shop"))
        found.append((batch.max_cost, batch.paused))
        found += [(job.state, job.attempt, job.paused) for job in store.batches.jobs(own(name, "shop"))]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("scopes", LESS, ids=lambda scopes: "+".join(sorted(scopes)))
def test_without_the_scope_enqueue_nothing_can_be_bought(
    scopes: set[Scope], app: Flask, shop: FlaskClient, as_scopes: Callable[..., FlaskClient], store: Store
) -> None:
    """Every change of the URL map that is neither a cancel nor a pause, with every value of every cap."""
    assert shop.get("/v1/batches/running").status_code == 200
    client, before, tried = as_scopes(*scopes), facts(store), 0
    bulk_id = shop.get("/v1/bulk").json["bulk"][0]["id"]
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith(("/v1", "/model/v1")) or not (
            methods := (rule.methods or set()) & {"POST", "PUT", "PATCH"}
        ):
            continue
        if rule.rule.endswith(("/cancel", "/pause")):
            continue
        (method,) = methods
        bodies = [LINE] if rule.endpoint != "bulk.begin" else BULK
        for name, body in product(("running", "paused", "failed"), bodies):
            path = rule.rule.replace("<batch_id>", name).replace("<job_id>", f"{name}.2")
            path = path.replace("<bulk_id>", bulk_id).replace("<index>", "0")
            for query in (
                "",
                "?max_cost=1000",
                "?max_cost=5.000000001",
                *(["?max_cost=4"] if name == "paused" else []),
            ):
                answer = client.open(path + query, method=method, data=body)
                if "max_cost" in query and path.endswith("/resume") and "jobs" in path:
                    continue
                assert answer.status_code == 403, (path, query)
                tried += 1
    assert tried > 50
    assert facts(store) == before


def test_the_scope_cancel_pauses_cancels_and_lowers_a_cap(
    shop: FlaskClient, as_scopes: Callable[..., FlaskClient], store: Store
) -> None:
    client = as_scopes(Scope.CANCEL)
    for _ in range(2):  # a repeat
        assert client.post("/v1/batches/running/resume?max_cost=3").status_code == 200
        assert shop.get("/v1/batches/running").json["max_cost"] == "3"
    refused = client.post("/v1/batches/running/resume?max_cost=4")
    assert (refused.status_code, refused.json["scope"]) == (403, "enqueue")
    for path in ("batches/running/pause", "jobs/failed.2/cancel", "batches/paused/cancel"):
        assert client.post(f"/v1/{path}").status_code in (200, 409)
    assert client.post("/v1/batches/running/resume?max_cost=2").status_code == 403
    assert store.batches.get(own("running", "shop")).max_cost == 3
    assert as_scopes(Scope.ENQUEUE).post("/v1/batches/running/resume?max_cost=6").status_code == 200
    assert store.batches.get(own("running", "shop")).max_cost == 6
