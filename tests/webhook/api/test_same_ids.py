"""Two producers that use the same ids: every route of the URL map, and everything that leaves the service."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import ResponseError
from werkzeug.test import TestResponse

from jobs.audit.audit import audit
from jobs.new_job import BatchOptions, NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas import GenerationRequest, load_request
from tests.support.producers import own
from webhook.app import create_app
from webhook.settings import Settings

MODEL = "kirin_image_omni"
NAMES = ("shop", "press")
#: What a path names, by its parameter: the same for both producers. Ids of bulk actions are the service's own.
NAMED = {
    "job_id": "order-4711",
    "batch_id": "boats",
    "task_id": "order-4711",
    "image_id": f"image:sha256:{'0' * 64}",
    "index": "0",
    "receiver": "hooks.example.com",
    "lane": "default",
    "producer": "shop",
}
#: A part of a text that only the one producer's own data contain.
PROMPT = "a secret of {}"


@pytest.fixture
def app(settings: Settings, store: Store) -> Flask:
    changed = {"api_keys": ("shop:one", "press:two", "press:three"), "admin_keys": ("boss:b",)}
    return create_app(Settings(**{**vars(settings), **changed}), store, lambda *_: True)


@pytest.fixture
def as_key(app: Flask) -> Callable[[str], FlaskClient]:
    def made(secret: str) -> FlaskClient:
        client = app.test_client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return client

    return made


def body(name: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": PROMPT.format(name), "labels": {"of": name}, **more}


@pytest.fixture
def both(as_key: Callable[[str], FlaskClient], store: Store) -> Iterator[dict[str, FlaskClient]]:
    """Both producers, with a job and a batch of the same ids; the jobs and one line of each batch have failed."""
    clients = {"shop": as_key("one"), "press": as_key("two")}
    for name, client in clients.items():
        assert client.post("/v1/jobs", json=body(name, external_task_id="order-4711")).status_code == 201
        lines = "".join(f"{json.dumps(body(name, **more))}\n" for more in ({"external_task_id": "mine"}, {}))
        assert client.post(f"/v1/batches?id=boats&label=of={name}", data=lines).json["accepted"] == 2
    store.attempts.admit(100)
    for name in NAMES:
        for claim in store.attempts.claim([own("order-4711", name), own("mine", name)]):
            # Providers repeat the external id in their texts
            error = {"code": "1201", "message": f"{claim.external_task_id} of {name} was refused"}
            store.attempts.finish(claim.external_task_id, State.FAILED, Result(error=error), "submit")
        bulk = clients[name].post("/v1/bulk", json={"action": "retry", "filter": {}, "dry_run": True})
        assert (bulk.status_code, bulk.json["affected"]) == (201, 2)
    yield clients
    assert audit(store) == []


def every_call(app: Flask, bulk_id: str) -> Iterator[tuple[str, str]]:
    named = NAMED | {"bulk_id": bulk_id}
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(("/v1", "/model/v1")):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: named[found[1]], rule.rule)
            yield from ((method, path) for method in sorted((rule.methods or set()) - {"OPTIONS"}))


def text_of(answer: TestResponse) -> str:
    """Return the text of an answer; of an archive, the names and texts in it."""
    data = answer.get_data()
    if answer.mimetype == "application/zip" and data:
        with ZipFile(BytesIO(data)) as archive:
            return "".join(name + archive.read(name).decode("latin-1") for name in archive.namelist())
    return data.decode()


def snapshot(client: FlaskClient) -> list[Any]:
    """What a producer sees of all that it has."""
    paths = ("jobs", "batches", "bulk", "jobs/order-4711", "batches/boats", "batches/boats/results", "spend?by=batch")
    return [client.get(f"/v1/{path}").text for path in paths]


def test_no_call_of_one_producer_reads_or_changes_the_others(app: Flask, both: dict[str, FlaskClient]) -> None:
    shop, press = both["shop"], both["press"]
    before, checked = snapshot(press), 0
    (bulk,) = press.get("/v1/bulk").json["bulk"]
    for method, path in every_call(app, bulk["id"]):
        if path.endswith("/events"):
            shop.post("/v1/batches/boats/cancel")  # so that the stream ends
        request = body("shop", external_task_id="order-4711") if method == "POST" else {}
        with closing(shop.open(path, method=method, json=request)) as answer:
            text = text_of(answer)
        assert "press" not in text, (method, path)
        assert bulk["id"] not in path or answer.status_code == 404, (method, path)
        # No answer shows the service's own id, but for what the provider got
        text = re.sub('"provider_external_id": *"[^"]*@shop[^"]*"', "", text)
        assert "@" not in text, (method, path)
        assert "@" not in str(answer.headers), (method, path)
        checked += 1
    assert checked > 30
    after = snapshot(press)
    # Estimates may change, the rest may not
    assert [re.sub('"(eta|rate|reason)": *[^,]*,', "", text) for text in after] == [
        re.sub('"(eta|rate|reason)": *[^,]*,', "", text) for text in before
    ]


@pytest.mark.parametrize("name", NAMES)
def test_each_producer_gets_its_own(name: str, both: dict[str, FlaskClient]) -> None:
    client = both[name]
    job = client.get("/v1/jobs/order-4711").json
    assert (job["id"], job["external_task_id"], job["owner"]) == ("order-4711", "order-4711", name)
    assert job["labels"] == {"of": name}
    assert job["error"]["message"] == f"order-4711 of {name} was refused"
    listed = client.get("/v1/jobs").json["jobs"]
    assert sorted(each["id"] for each in listed) == ["boats.2", "mine", "order-4711"]
    assert {each["owner"] for each in listed} == {name}
    in_batch = client.get("/v1/jobs?batch=boats").json["jobs"]
    assert [(each["id"], each["batch"]) for each in in_batch] == [("mine", "boats"), ("boats.2", "boats")]
    batch = client.get("/v1/batches/boats").json
    assert (batch["id"], batch["owner"], batch["labels"], batch["accepted"]) == ("boats", name, {"of": name}, 2)
    rows = client.get("/v1/batches/boats/results?format=csv").text.splitlines()
    assert [row.split(",")[0] for row in rows] == ["id", "mine", "boats.2"]
    retried = client.post("/v1/jobs/order-4711/retry").json
    assert retried["external_task_id"] == "order-4711"
    assert retried["provider_external_id"] == f"order-4711@{name}~2"
    assert client.get("/model/v1/generation/task/order-4711~2").json["id"] == "order-4711"


def test_an_administrator_names_the_producer_of_an_id_that_several_have(
    app: Flask, both: dict[str, FlaskClient], as_key: Callable[[str], FlaskClient]
) -> None:
    boss, checked = as_key("b"), 0
    for method, path in every_call(app, "x"):
        if not re.search("order-4711|boats", path):
            continue
        with closing(boss.open(path, method=method)) as answer:
            assert answer.status_code == 409, (method, path)
            if method != "HEAD":
                text = answer.get_data(as_text=True)
                assert all(f"@{name}" in text for name in NAMES)
        checked += 1
    assert checked > 15
    for name, client in both.items():
        assert boss.get(f"/v1/jobs/order-4711@{name}").json == client.get("/v1/jobs/order-4711").json
        assert boss.get(f"/v1/batches/boats@{name}").json["labels"] == {"of": name}
        assert [job["id"] for job in boss.get(f"/v1/jobs?batch=boats@{name}").json["jobs"]] == ["mine", "boats.2"]
    assert boss.get("/v1/jobs/order-4711@nobody").status_code == 404
    rows = {row["name"] for row in boss.get("/v1/spend?by=batch&batch=boats").json["rows"]}
    assert rows <= {"boats@shop", "boats@press"}
    # Its own comes first, and an id that only one has needs no name
    assert boss.post("/v1/jobs", json=body("boss", external_task_id="order-4711")).status_code == 201
    assert boss.get("/v1/jobs/order-4711").json["owner"] == "boss"
    both["shop"].post("/v1/jobs", json=body("shop", external_task_id="only"))
    assert boss.get("/v1/jobs/only").json["owner"] == "shop"


def test_other_producers_may_not_be_named(both: dict[str, FlaskClient]) -> None:
    shop = both["shop"]
    assert shop.get("/v1/jobs/order-4711@shop").json["id"] == "order-4711"
    for path in ("jobs/order-4711@{}", "batches/boats@{}", "batches/boats@{}/results"):
        theirs, absent = (shop.get(f"/v1/{path.format(name)}") for name in ("press", "absent"))
        assert theirs.status_code == absent.status_code == 404
        assert theirs.text.replace("press", "absent") == absent.text
    refused = shop.post("/v1/batches?id=boats@press", data=json.dumps(body("shop")))
    assert (refused.status_code, list(refused.json["errors"])) == (422, ["id"])
    assert shop.post("/v1/jobs", json=body("shop", external_task_id="a@press")).status_code == 422


def test_the_same_idempotency_key_names_two_batches(both: dict[str, FlaskClient]) -> None:
    key = {"Idempotency-Key": "spring"}
    for name, client in both.items():
        for accepted, known in ((1, 0), (0, 1)):
            answer = client.post("/v1/batches", data=json.dumps(body(name)), headers=key).json
            assert (answer["accepted"], answer["known"]) == (accepted, known)


def test_ids_stay_a_producers_when_its_key_is_replaced(as_key: Callable[[str], FlaskClient], store: Store) -> None:
    """`press` has two keys of one name, as while its secret is being replaced."""
    old, new = as_key("two"), as_key("three")
    request = body("press", external_task_id="order-4711")
    assert (old.post("/v1/jobs", json=request).status_code, new.post("/v1/jobs", json=request).status_code) == (
        201,
        200,
    )
    for client, count in ((old, (1, 0)), (new, (0, 1))):
        answer = client.post("/v1/batches?id=b", data=json.dumps(body("press"))).json
        assert (answer["accepted"], answer["known"]) == count
    assert store.statistics.totals().counts[State.QUEUED] == 2


# --- records of version 1, whose ids are without the producer ---------------------------------------------------------


def recorded_by_version_1(store: Store, given: str, batch: str | None = None) -> None:
    request = load_request(body("shop", external_task_id=given, callback_url="https://shop.example.com/x"))
    job = NewJob.of(request, given, store.context.settings.lanes, owner="" if batch else "shop")
    store.jobs.enqueue([job], batch, BatchOptions(owner="shop"))


@pytest.fixture
def older(store: Store, as_key: Callable[[str], FlaskClient]) -> FlaskClient:
    recorded_by_version_1(store, "order-4711")
    recorded_by_version_1(store, "boats.1", "boats")
    return as_key("one")


def test_older_records_stay_their_owners_and_are_not_bought_again(
    older: FlaskClient, as_key: Callable[[str], FlaskClient], store: Store
) -> None:
    request = body("shop", external_task_id="order-4711", callback_url="https://shop.example.com/x")
    again = older.post("/v1/jobs", json=request)
    assert (again.status_code, again.json["id"], again.json["owner"]) == (200, "order-4711", "shop")
    assert older.post("/model/v1/generation", json=request).status_code in (200, 409)
    assert older.post("/v1/jobs", json=request | {"n": 2}).status_code == 409
    line = body("shop", callback_url="https://shop.example.com/x")
    whole = older.post("/v1/batches?id=more&on_error=abort", data=json.dumps(request))
    assert (whole.json["accepted"], whole.json["known"]) == (0, 1)
    # A batch that version 1 began goes on
    more = older.post("/v1/batches?id=boats", data=f"{json.dumps(line)}\n" * 2)
    assert (more.json["accepted"], more.json["known"]) == (1, 1)
    views = older.get("/v1/batches/boats/results").text.splitlines()
    assert [json.loads(view)["id"] for view in views] == ["boats.1", "boats.2"]
    assert older.post("/v1/batches/boats/cancel").json["affected"] == 2
    assert older.post("/v1/jobs/order-4711/cancel").json["status"] == "cancelled"
    assert store.statistics.totals().counts[State.CANCELLED] == 3
    # They are nobody else's, and keep no other producer from using the id
    press = as_key("two")
    assert press.get("/v1/jobs/order-4711").status_code == press.get("/v1/batches/boats").status_code == 404
    assert press.post("/v1/jobs", json=request).status_code == 201
    assert press.post("/v1/batches?id=boats", data=json.dumps(line)).json["accepted"] == 1
    boss = as_key("b")
    assert boss.get("/v1/jobs/order-4711@shop").json["status"] == "cancelled"
    assert boss.get("/v1/jobs/order-4711@press").json["status"] == "queued"
    assert audit(store) == []


def test_a_celery_producers_id_is_no_other_producers(as_key: Callable[[str], FlaskClient], store: Store) -> None:
    text = '{"labels":{},"model":"kirin_image_omni","params":{"prompt":"a fox"}}'
    store.jobs.enqueue([NewJob(id="order-4711", text=text, model=MODEL, owner="celery")])
    shop, boss = as_key("one"), as_key("b")
    assert shop.get("/v1/jobs/order-4711").status_code == 404
    assert shop.post("/v1/jobs", json=body("shop", external_task_id="order-4711")).status_code == 201
    again = store.jobs.enqueue([NewJob(id="order-4711", text=text, model=MODEL, owner="celery")])
    assert [str(outcome) for outcome in again.outcomes] == ["known"]
    assert boss.get("/v1/jobs/order-4711").status_code == 409
    assert [boss.get(f"/v1/jobs/order-4711@{name}").json["owner"] for name in ("celery", "shop")] == ["celery", "shop"]


def old_script(store: Store, verb: str, *args: str) -> Any:
    """Run a script as a webhook of version 1 runs it: `version_1` holds what its code sent to Redis."""
    text = (Path(__file__).parent / "version_1" / f"{verb}.lua").read_text("utf-8")
    return store.context.client.eval(text, 1, store.context.keys.prefix, *args)


def old_enqueue(store: Store, text: str, batch: str = "") -> Any:
    facts = json.dumps({"m": MODEL} | ({} if batch else {"K": "shop"}))
    return old_script(store, "enqueue", batch, '{"key":"shop"}', "60000000", "", "order-4711", text, facts)


def tolerate(store: Store) -> None:
    """Go on after a loss as a worker does."""
    store.context.client.hdel(store.context.keys.singleton("epoch"), "lost")
    number = store.context.client.hget(store.context.keys.singleton("epoch"), "number")
    assert store.context.scripts.call("tolerate", number, 0, number, 0) == "tolerated"


@pytest.mark.parametrize("batch", ["", "boats"])
def test_webhooks_of_both_versions_side_by_side_buy_nothing_twice(
    batch: str, as_key: Callable[[str], FlaskClient], store: Store
) -> None:
    """A webhook of version 1 accepts jobs until this version has accepted one, and none from then on."""
    shop, request = as_key("one"), body("shop", external_task_id="order-4711")

    def enqueue() -> bool:
        if not batch:
            return shop.post("/v1/jobs", json=request).status_code == 201
        return bool(shop.post(f"/v1/batches?id={batch}", data=json.dumps(request)).json["accepted"])

    text = GenerationRequest.text(load_request(request))
    assert old_enqueue(store, text, batch)[1] == "created"
    assert not enqueue()  # known
    assert old_enqueue(store, text, batch)[1] == "known"
    request["external_task_id"] = "another"
    assert enqueue()
    for verb, args in (("enqueue", ()), ("stage", ("token", "60", "", "another", text, json.dumps({"m": MODEL})))):
        with pytest.raises(ResponseError, match="REFUSED"):
            old_script(store, verb, *args) if args else old_enqueue(store, text, batch)
    # This version goes on, also after an operator ran `recover`
    assert store.continuity.refusal() == store.continuity.standing().lost == ""
    store.continuity.recover()
    request["external_task_id"] = "a-third"
    assert enqueue()
    with pytest.raises(ResponseError, match="REFUSED"):
        old_enqueue(store, text, batch)
    assert store.statistics.totals().counts[State.QUEUED] == 3
    # No less where a worker has found a loss meanwhile, or has gone on after one that the settings allow
    for go_on in (store.continuity.recover, lambda: tolerate(store)):
        store.context.client.hset(store.context.keys.singleton("epoch"), "lost", "3 jobs")
        go_on()
        assert store.continuity.refusal() == ""
        with pytest.raises(ResponseError, match="REFUSED"):
            old_enqueue(store, text, batch)
    # The version before counts less; `audit --repair` completes it
    assert [finding for finding in audit(store) if not finding.repairable] == []
