"""Quotes: they check what an upload checks, say what it would cost, and change nothing."""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.key_limits import KeyLimits
from jobs.list_prices import ListPrices
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas.views.quotes import QuoteView
from tests.support.drawing import drawn
from webhook.app import create_app
from webhook.settings import Settings

LINE = {"model": "kirin_image_omni", "prompt": "a fox"}
IMAGE = {"type": "image", "url": "https://cdn.example.com/1.png"}
PNG = drawn()
HASH = "image:sha256:" + "0" * 64


def body(*requests: Any) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in requests)


@pytest.fixture
def learn(store: Store) -> Callable[..., None]:
    """`learn("0.04", "0.05")`: let jobs of the one kind cost so much, one after another."""

    def buy(*costs: str) -> None:
        for number, cost in enumerate(costs):
            job_id = f"learned.{number}"
            store.jobs.enqueue([NewJob(id=job_id, text="{}", model="kirin_image_omni")])
            store.attempts.claim(store.attempts.admit(10).ids)
            store.attempts.finish(job_id, State.COMPLETED, Result(output=(IMAGE,), cost=Decimal(cost)), "callback")

    return buy


def test_only_an_administrator_sees_what_a_lane_has_left(
    with_settings: Callable[..., FlaskClient], learn: Callable[..., None], store: Store
) -> None:
    learn("0.5")
    lanes = tuple(replace(each, max_cost_per_day=Decimal("0.6")) for each in store.context.settings.lanes)
    client = with_settings(named_lanes=lanes, api_keys=("shop:key-of-the-shop",))
    shop = {"Authorization": "Bearer key-of-the-shop"}

    for headers, is_shown in ((None, True), (shop, False)):
        (block,) = quoted(client, body(*[LINE] * 3), headers=headers)["blocks"]
        assert block["code"] == "lane_budget"
        assert bool(re.search("[0-9]", block["message"])) is is_shown


def test_many_quotes_do_not_find_out_what_a_lane_has_left(
    with_settings: Callable[..., FlaskClient], learn: Callable[..., None], store: Store
) -> None:
    lanes = tuple(replace(each, max_cost_per_day=Decimal(10)) for each in store.context.settings.lanes)
    client = with_settings(named_lanes=lanes, api_keys=("shop:key-of-the-shop",))
    shop = {"Authorization": "Bearer key-of-the-shop"}

    def answers() -> list[Any]:
        return [quoted(client, body(*[LINE] * count), headers=shop)["blocks"] for count in range(15, 22)]

    learn("0.5")
    before = answers()
    learn("0.5")
    assert answers() == before
    assert [bool(each) for each in before] == [False] * 4 + [True] * 3  # 9 of 10 USD are left


@pytest.fixture
def dump(raw: redis.Redis) -> Callable[[], dict[str, bytes]]:
    """Everything in Redis, except when a key was last used."""

    def read() -> dict[str, Any]:
        keys = [key for key in raw.scan_iter() if not key.endswith(("accessed", "access", "wake"))]
        with redis.Redis(connection_pool=raw.connection_pool) as connection:
            return {key: connection.execute_command("DUMP", key, NEVER_DECODE=True) for key in keys}

    return read


@pytest.fixture
def with_settings(settings: Settings, store: Store, client: FlaskClient) -> Callable[..., FlaskClient]:
    def make(**changes: Any) -> FlaskClient:
        changed = replace(settings, **changes)
        made = create_app(changed, Store(store.context.client, changed), lambda *_: True).test_client()
        made.environ_base = client.environ_base
        return made

    return make


def quoted(client: FlaskClient, data: bytes, query: str = "", **options: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/quote{query}", data=data, **options)
    assert answer.status_code == 200, answer.text
    assert QuoteView().validate(json.loads(answer.text)) == {}
    return dict(answer.json or {})


def codes(view: dict[str, Any]) -> list[str]:
    return [each["code"] for each in view["blocks"] if each["code"] != "stalled"]


UPLOADS: dict[str, tuple[Any, ...]] = {
    "good lines": (LINE, {**LINE, "n": 2}),
    "bad lines": (
        LINE,
        {**LINE, "n": 12},
        b"not json",
        b"",
        b"[]",
        {"model": "unknown"},
        b'{"model":"kirin_image_omni"}',
    ),
    "known and conflicting ids": (
        {**LINE, "external_task_id": "known"},
        {**LINE, "prompt": "a hare", "external_task_id": "known"},
    ),
    "ids twice in the upload": (
        {**LINE, "external_task_id": "new"},
        {**LINE, "external_task_id": "new"},
        {**LINE, "n": 3, "external_task_id": "new"},
    ),
    "images": (
        {**LINE, "image_list": [{"image": base64.b64encode(PNG).decode()}]},
        {**LINE, "image_list": [{"image": HASH}]},
        {**LINE, "image_list": [{"image": base64.b64encode(PNG[:-20]).decode()}]},
    ),
    "nothing": (),
    "many": tuple({**LINE, "n": 1 + number % 10} for number in range(1203)),
}


@pytest.mark.parametrize("name", UPLOADS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_quote_counts_as_the_upload_does_and_writes_nothing(
    name: str, packed: bool, client: FlaskClient, dump: Callable[[], Any]
) -> None:
    client.post("/v1/jobs", json={**LINE, "external_task_id": "known"})
    data, headers = body(*UPLOADS[name]), dict[str, str]()
    if packed:
        data, headers = gzip.compress(data), {"Content-Encoding": "gzip"}
    before = dump()
    view = quoted(client, data, "?id=b", headers=headers)
    dry = client.post("/v1/batches?id=b&dry_run=true", data=data, headers=headers)
    assert (dry.status_code, dry.json) == (200, view)
    assert dump() == before
    assert client.get("/v1/batches/b").status_code == 404
    real = client.post("/v1/batches?id=b", data=data, headers=headers).json
    assert {each: view[each] for each in ("accepted", "known", "rejected", "errors")} == {
        each: real[each] for each in ("accepted", "known", "rejected", "errors")
    }
    assert sum(each["jobs"] for each in view["kinds"]) == view["accepted"]
    assert sum(each["lines"] for each in view["problems"]) >= view["rejected"]


def test_mistakes_are_grouped_with_their_first_lines(client: FlaskClient) -> None:
    many = [{**LINE, "n": 12 + number} for number in range(30)]
    view = quoted(client, body(LINE, *many, {**LINE, "prompt": ""}))
    first, second = view["problems"]
    assert (first["field"], first["lines"], first["first"]) == ("n", 30, list(range(2, 12)))
    assert first["message"] == "must be from 1 to 9, not 12"
    assert (second["field"], second["lines"], second["first"]) == ("prompt", 1, [32])


def test_the_cost_has_a_base_and_a_spread(client: FlaskClient, learn: Callable[..., None]) -> None:
    assert quoted(client, body(LINE))["cost"]["base"] == "unknown"
    learn("0.04", "0.05", "0.03", "0.04")
    view = quoted(client, body(*[LINE] * 100))
    assert view["cost"] == {"base": "learned", "expected": "5", "low": "3", "median": "4", "high": "5"}
    (kind,) = view["kinds"]
    assert (kind["jobs"], kind["expected"], kind["low"], kind["high"]) == (100, "0.05", "0.03", "0.05")
    partly = quoted(client, body(LINE, {**LINE, "n": 2}))
    assert (partly["cost"]["base"], partly["cost"]["expected"], partly["unpriced"]) == ("unknown", None, 1)


def test_list_prices_are_the_base_until_costs_are_learned(
    with_settings: Callable[..., FlaskClient], learn: Callable[..., None]
) -> None:
    prices = ListPrices({"kirin_image_omni": {"*": Decimal("0.1"), "2k": Decimal("0.3")}})
    client = with_settings(list_prices=prices)
    view = quoted(client, body({**LINE, "n": 2}, {**LINE, "resolution": "2k"}))
    assert (view["cost"]["base"], view["cost"]["expected"]) == ("configured", "0.5")
    learn("0.04")
    assert quoted(client, body(LINE, {**LINE, "n": 2}))["cost"]["base"] == "mixed"
    client.post("/v1/batches?id=b", data=body({**LINE, "n": 3}))
    assert client.get("/v1/batches/b").json["expected_cost"] == "0.3"


def test_what_would_block_it_is_named(
    client: FlaskClient, with_settings: Callable[..., FlaskClient], learn: Callable[..., None], store: Store
) -> None:
    assert codes(quoted(client, body(LINE), "?max_cost=1")) == ["unknown_price"]
    learn("0.5")
    assert codes(quoted(client, body(LINE), "?max_cost=1")) == []
    assert codes(quoted(client, body(*[LINE] * 3), "?max_cost=1")) == ["max_cost"]
    assert codes(quoted(client, body(LINE), "?pilot=2")) == ["approval"]
    assert codes(quoted(client, body(LINE, b"bad"), "?on_error=abort")) == ["refused_lines"]
    client.post("/v1/batches?id=b&max_cost=1&paused=true", data=body(LINE))
    assert codes(quoted(client, body(LINE, LINE, LINE), "?id=b")) == ["max_cost", "paused"]
    limits = {"boss": KeyLimits(max_cost_per_day=Decimal(1), max_unfinished=2, max_stored=1)}
    view = quoted(with_settings(key_limits=limits), body(*[LINE] * 3))
    assert set(codes(view)) == {"key_budget", "room", "memory"}
    lanes = tuple(replace(each, max_cost_per_day=Decimal("0.6")) for each in store.context.settings.lanes)
    assert codes(quoted(with_settings(named_lanes=lanes), body(*[LINE] * 3))) == ["lane_budget"]
    store.lanes.hold("402: balance exhausted", base=60, cap=60)
    (block,) = [each for each in quoted(client, body(LINE))["blocks"] if each["code"] == "lane_closed"]
    assert "balance exhausted" in block["message"]


def test_the_time_follows_the_limits_in_force(with_settings: Callable[..., FlaskClient], raw: redis.Redis) -> None:
    client = with_settings(max_in_flight=10)
    assert quoted(client, body(LINE))["seconds"] is None
    raw.hset("{b}:lane:default", mapping={"took": 20_000_000, "work": 20_000_000})
    raw.hset("{b}:pools", "", "default")
    assert quoted(client, body(*[LINE] * 100))["seconds"] == 220.0


def test_a_single_job_is_checked_and_refused_as_it_would_be(client: FlaskClient, dump: Callable[[], Any]) -> None:
    client.post("/v1/jobs", json={**LINE, "external_task_id": "taken"})
    before = dump()
    answer = client.post("/v1/jobs?dry_run=true", json={**LINE, "n": 2, "external_task_id": "new"})
    assert (answer.status_code, answer.json["accepted"]) == (200, 1)
    assert QuoteView().validate(json.loads(answer.text)) == {}
    assert client.post("/v1/jobs?dry_run=true", json={**LINE, "external_task_id": "taken"}).json["known"] == 1
    assert client.post("/v1/jobs?dry_run=true", json={**LINE, "n": 2, "external_task_id": "taken"}).status_code == 409
    refused = client.post("/v1/jobs?dry_run=true", json={**LINE, "n": 12})
    assert (refused.status_code, list(refused.json["errors"]), refused.json["codes"]) == (422, ["n"], ["002016003"])
    assert client.post("/v1/jobs?dry_run=true", data=b"no json").status_code == 422
    assert dump() == before
    assert client.get("/v1/jobs/new").status_code == 404


def test_images_that_come_later_are_no_mistake(client: FlaskClient) -> None:
    data = body({**LINE, "image_list": [{"image": HASH}]})
    assert quoted(client, data)["rejected"] == 1
    assert quoted(client, data, "?images_later=true")["accepted"] == 1


def test_the_line_of_another_upload_is_refused_as_by_the_upload(client: FlaskClient) -> None:
    client.post("/v1/batches?id=b", data=body(LINE))
    changed = body({**LINE, "n": 2})
    for path in ("/v1/quote?id=b", "/v1/batches?id=b"):
        assert client.post(path, data=changed).status_code == 422
    assert client.post("/v1/quote?id=b&weight=7", data=body(LINE)).status_code == 422


@pytest.mark.slow
def test_a_quote_takes_little_memory(client: FlaskClient, app: Flask) -> None:
    before = app.extensions["boomerang"].memory._pool.free

    def lines() -> Iterator[bytes]:
        for number in range(5_000):
            yield body({**LINE, "external_task_id": f"order-{number}-{os.getpid()}"})

    assert quoted(client, b"".join(lines()))["accepted"] == 5_000
    assert app.extensions["boomerang"].memory._pool.free == before
