"""The page that lists batches."""

import html
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
import redis
from flask.testing import FlaskClient

from jobs.new_job import BatchOptions, NewJob
from jobs.store.store import Store
from schemas import load_request

HOSTILE = "<script>alert(1)</script>\u202e😀"


def new_batch(store: Store, given: str, owner: str = "shop", jobs: int = 2, **options: object) -> None:
    request = load_request({"model": "kirin_image_omni", "prompt": "a boat"})
    store.jobs.enqueue(
        [
            NewJob(id=f"{given}.{each}@{owner}", text=request.text(), model=request.model, owner=owner)
            for each in range(1, jobs + 1)
        ],
        f"{given}@{owner}",
        BatchOptions(owner=owner, **options),  # type: ignore[arg-type]
    )


def rows(browser: FlaskClient, **query: object) -> list[str]:
    """The ids in the rows of the list."""
    page = browser.get("/batches", query_string=query)
    assert page.status_code == 200, page.text
    found = re.findall(
        r'<tr>\s*<td><(?:a|span) class="id".*?<span class="outside[^>]*>(.*?)</span>', page.text, re.DOTALL
    )
    return [html.unescape(each) for each in found]


def test_a_batch_has_its_progress_costs_and_labels(store: Store, shop: FlaskClient) -> None:
    new_batch(store, "spring", labels={"shop": "berlin"}, max_cost=Decimal(12), paused=True)
    page = shop.get("/batches").text
    assert "2 queued of 2" in page
    assert "waits for an approval" in page
    assert "at most $12.00" in page
    assert "label=shop%3Dberlin" in page
    assert rows(shop) == ["spring"]


def test_each_producer_sees_its_own_and_an_administrator_all(
    store: Store, log_in_as: Callable[..., FlaskClient], shop: FlaskClient, admin: FlaskClient
) -> None:
    new_batch(store, "a", "shop")
    new_batch(store, "b", "other")
    assert rows(shop) == ["a"]
    assert rows(log_in_as("other")) == ["b"]
    assert rows(admin) == ["b@other", "a@shop"]
    assert rows(shop, id="b") == rows(shop, id="b@other") == []
    assert rows(admin, id="b") == ["b@other"]
    assert rows(admin, producer="shop") == ["a@shop"]
    assert rows(shop, producer="other") == []
    assert 'name="producer"' in admin.get("/batches").text
    assert 'name="producer"' not in shop.get("/batches").text


def test_an_id_of_several_producers_is_ambiguous(store: Store, admin: FlaskClient) -> None:
    for owner in ("shop", "other"):
        new_batch(store, "same", owner)
    page = admin.get("/batches", query_string={"id": "same"}).text
    assert "same@other, same@shop" in page
    assert rows(admin, id="same@shop") == ["same@shop"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["empty", "paused", "moving"]),
        ({"status": "paused"}, ["paused"]),
        ({"status": "running"}, ["moving"]),
        ({"status": "done"}, ["empty"]),
        ({"label": "shop=berlin"}, ["paused", "moving"]),
        ({"label": "shop=berlin", "status": "paused"}, ["paused"]),
        ({"label": ["shop=berlin", "season=spring"]}, ["moving"]),
        ({"label": "", "status": "", "id": " "}, ["empty", "paused", "moving"]),
        ({"id": "paused"}, ["paused"]),
        ({"id": "none"}, []),
        ({"id": "../\x00*"}, []),
    ],
)
def test_filters(store: Store, shop: FlaskClient, query: dict[str, object], found: list[str]) -> None:
    new_batch(store, "moving", labels={"shop": "berlin", "season": "spring"})
    new_batch(store, "paused", labels={"shop": "berlin"}, paused=True)
    new_batch(store, "empty", jobs=0)
    assert rows(shop, **query) == found


@pytest.mark.parametrize("query", [{"status": "gone"}, {"label": "nothing"}, {"cursor": "x"}, {"label": HOSTILE}])
def test_a_wrong_filter_is_explained(shop: FlaskClient, query: dict[str, str]) -> None:
    page = shop.get("/batches", query_string=query)
    assert page.status_code == 200
    assert "must be" in page.text or "is not a cursor" in page.text
    assert "<script>alert" not in page.text


def test_hostile_labels_and_reasons_are_text(store: Store, shop: FlaskClient) -> None:
    new_batch(store, "x", labels={"name": HOSTILE, "other": "v" * 256})
    page = shop.get("/batches").text
    assert "<script>alert" not in page
    assert html.escape(HOSTILE) in page
    assert rows(shop, label=f"name={HOSTILE}") == ["x"]


def test_pages_follow_each_other(store: Store, shop: FlaskClient) -> None:
    for number in range(60):
        new_batch(store, f"b{number:02}", jobs=1)
    seen, address = [], "/batches"
    while address:
        page = shop.get(address).text
        seen += re.findall(r">(b\d\d)</span>", page)
        following = re.search(r'<a href="([^"]+)" rel="next">', page)
        address = html.unescape(following[1]) if following else ""
    assert seen == [f"b{number:02}" for number in reversed(range(60))]


@pytest.mark.slow
def test_a_page_costs_the_same_whatever_there_is(
    store: Store, shop: FlaskClient, admin: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[object]()
    execute, command = redis.client.Pipeline.execute, redis.Redis.execute_command

    def pipeline(self: redis.client.Pipeline, *args: object, **options: object) -> object:
        calls.append("pipeline")
        return execute(self, *args, **options)  # type: ignore[arg-type]

    def single(self: redis.Redis, *args: object, **options: object) -> object:
        calls.append(args[0])
        return command(self, *args, **options)

    def trips(browser: FlaskClient, **query: str) -> int:
        counts = []
        for _ in range(2):  # the first request may read limits and keys
            calls.clear()
            rows(browser, **query)
            counts.append(len(calls))
        return min(counts)

    # A slow request would read them again
    for name in ("webhook.access.api_keys.FRESH", "webhook.backpressure.MAX_AGE", "jobs.store.limits.MAX_AGE"):
        monkeypatch.setattr(name, 3600.0)
    for number in range(30):
        new_batch(store, f"b{number}", jobs=1)
    monkeypatch.setattr(redis.client.Pipeline, "execute", pipeline)
    monkeypatch.setattr(redis.Redis, "execute_command", single)
    few = [trips(admin), trips(shop), trips(shop, status="running")]
    for number in range(300):
        new_batch(store, f"c{number}", jobs=1)
    assert [trips(admin), trips(shop), trips(shop, status="running")] == few
    assert max(few) <= 8
    # Others' batches are passed by the index, and without it searched in chunks, no further than a thousand.
    for number in range(1_500):
        store.jobs.enqueue([], f"d{number}@other", BatchOptions(owner="other"))
    assert trips(shop) <= 8
    assert "The next page searches older ones" not in shop.get("/batches").text
    store.context.client.hdel(store.context.keys.singleton("totals"), "indexed_from")
    store.context.client.delete(store.context.keys.member("batches_of", "shop"))
    assert trips(shop) <= 8
    assert "The next page searches older ones" in shop.get("/batches").text
