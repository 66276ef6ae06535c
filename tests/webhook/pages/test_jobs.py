"""The page of jobs, and the pages of bulk actions."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.new_job import BatchOptions, NewJob
from jobs.producer_ids import internal_id
from jobs.result import Result
from jobs.states import State
from jobs.store import bulks
from jobs.store.store import Store
from tests.support.browser import act, token_of

HOSTILE = "<script>alert(1)</script>\"'\u202e🦊"


def put_jobs(store: Store, owner: str, *names: str, batch: str | None = None, **options: Any) -> None:
    """Enqueue jobs of a producer."""
    jobs = [
        NewJob(
            id=internal_id(name, owner),
            text='{"model":"kirin_image_omni","params":{"prompt":"a fox"}}',
            model="kirin_image_omni",
            owner="" if batch else owner,
            **options,
        )
        for name in names
    ]
    store.jobs.enqueue(jobs, batch and internal_id(batch, owner), BatchOptions(owner=owner))


@pytest.fixture
def foxes(store: Store) -> Store:
    """Jobs of two producers: of `shop` three, of which one has failed, and one of `press`."""
    put_jobs(store, "shop", "fox-1", "fox-2", batch="foxes")
    store.attempts.admit(1)
    (claim,) = store.attempts.claim(["fox-1@shop"])
    put_jobs(store, "shop", "owl", labels={"city": HOSTILE})
    put_jobs(store, "press", "secret")
    error = {"code": "1301", "message": HOSTILE}
    store.attempts.finish(claim.id, State.FAILED, Result(error=error), "submit", fence=claim.fence)
    return store


def rows(page: Any) -> list[str]:
    """Return the ids of the jobs on a page."""
    assert page.status_code == 200
    found = re.findall(r'<th scope="row">.*?class="outside[^>]*>([^<]+)<', page.text)
    return sorted(map(unescape, found))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["fox-1", "fox-2", "owl"]),
        ("status=failed&batch=&label=&min_cost=", ["fox-1"]),
        ("status=failed&status=queued&batch=foxes", ["fox-1", "fox-2"]),
        ("class=moderation&code=1301&settled_by=submit&lane=default", ["fox-1"]),
        ("created_before=2020-01-01T00:00", []),
        ("producer=press", []),
        ("batch=nothing", []),
    ],
)
def test_the_address_holds_the_filter(query: str, ids: list[str], shop: FlaskClient, foxes: Store) -> None:
    page = shop.get(f"/jobs?{query}")
    assert rows(page) == ids
    assert re.search(rf"<strong>[^<]*<span class=\"number\">{len(ids)}</span>", page.text)
    part = shop.get(f"/jobs?{query}", headers={"HX-Request": "true"})
    assert rows(part) == ids
    assert "<html" not in part.text


def test_a_wrong_filter_is_explained_and_lists_nothing(shop: FlaskClient, foxes: Store) -> None:
    page = shop.get("/jobs?min_cost=cheap&status=lost&created_after=yesterday&cursor=x")
    assert rows(page) == []
    assert page.text.count('class="message problem"') == 4
    assert (
        shop.post("/bulk", data={"csrf_token": token_of(page), "action": "cancel", "status": "lost"}).status_code == 303
    )
    assert foxes.bulks.last() == []


def test_an_administrator_sees_the_jobs_of_all_and_filters_by_producer(admin: FlaskClient, foxes: Store) -> None:
    assert rows(admin.get("/jobs")) == ["fox-1", "fox-2", "owl", "secret"]
    assert rows(admin.get("/jobs?producer=press")) == ["secret"]


def test_pages_follow_one_another(shop: FlaskClient, store: Store) -> None:
    put_jobs(store, "shop", *(f"job-{number:03}" for number in range(120)))
    address, seen = "/jobs?model=kirin_image_omni", list[str]()
    while address:
        page = shop.get(address)
        seen += rows(page)
        further = re.search(r'<a href="([^"]+)" rel="next">', page.text)
        address = unescape(further[1]) if further else ""
    assert len(seen) == len(set(seen)) == 120


def test_the_search_finds_the_caller_s_jobs_only(shop: FlaskClient, admin: FlaskClient, store: Store) -> None:
    put_jobs(store, "shop", "one", "two")
    put_jobs(store, "other", "theirs")
    assert rows(shop.get("/jobs?search=one")) == ["one"]
    for wanted in ("theirs", "theirs@other", "no such id", "<b>", "x" * 5_000):
        page = shop.get("/jobs", query_string={"search": wanted})
        assert (page.status_code, rows(page)) == (200, [])
    assert len(rows(admin.get("/jobs?search=theirs@other"))) == 1


def test_text_from_outside_stays_text(shop: FlaskClient, foxes: Store) -> None:
    for query in (f"/jobs?code={HOSTILE}&label=city={HOSTILE}&model={HOSTILE}&batch={HOSTILE}", "/jobs"):
        page = shop.get(query)
        assert page.status_code == 200
        assert "<script>alert" not in page.text


def begin(browser: FlaskClient, action: str, **fields: str) -> Any:
    """Send the form that counts, and return the page that follows."""
    answer = act(browser, "/jobs", "/bulk", action=action, **fields)
    assert answer.status_code == 303
    return browser.get(answer.headers["Location"])


def test_an_action_is_counted_before_it_is_started(shop: FlaskClient, foxes: Store) -> None:
    counted = begin(shop, "retry", batch="foxes", **{"class": "moderation"})
    assert foxes.jobs.get("fox-1@shop").state is State.FAILED
    (start,) = re.findall(r'action="(/bulk/\w+/start)"', counted.text)
    for _ in range(2):  # a second click starts nothing more
        answer = shop.post(start, data={"csrf_token": token_of(counted)})
        assert answer.status_code == 303
    assert foxes.jobs.get("fox-1@shop").state is State.QUEUED
    done = shop.get(answer.headers["Location"])
    assert "/start" not in done.text
    assert len(foxes.bulks.last()) == 2
    assert shop.get("/bulk").text.count('<th scope="row">') == 2


def test_a_running_action_can_be_aborted(shop: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulks, "AT_ONCE", -1)
    page = begin(shop, "cancel")
    (address,) = re.findall(r'action="(/bulk/\w+/abort)"', page.text)
    assert shop.post(address, data={"csrf_token": token_of(page)}).status_code == 303
    foxes.bulks.advance()
    assert foxes.bulks.last()[0].state == "aborted"
    assert foxes.jobs.get("owl@shop").state is State.QUEUED


def test_a_priority_is_chosen(shop: FlaskClient, foxes: Store) -> None:
    assert act(shop, "/jobs", "/bulk", action="priority").status_code == 303
    assert foxes.bulks.last() == []
    counted = begin(shop, "priority", priority="high", batch="foxes")
    (start,) = re.findall(r'action="(/bulk/\w+/start)"', counted.text)
    shop.post(start, data={"csrf_token": token_of(counted)})
    assert foxes.jobs.get("fox-2@shop").priority == "high"


def test_only_what_the_key_may_do_is_on_the_page(log_in_as: Callable[..., FlaskClient], foxes: Store) -> None:
    reader = log_in_as("shop", Scope.READ)
    page = reader.get("/jobs")
    assert 'action="/bulk"' not in page.text
    for action in ("cancel", "retry", "pause", "resume"):
        assert act(reader, "/jobs", "/bulk", action=action).status_code == 403
    canceller = log_in_as("shop", Scope.READ, Scope.CANCEL).get("/jobs").text
    assert set(re.findall(r'name="action" value="(\w+)"', canceller)) == {"cancel", "pause"}
    assert foxes.bulks.last() == []


def test_a_stranger_reaches_no_action_of_another(
    shop: FlaskClient, log_in_as: Callable[..., FlaskClient], foxes: Store
) -> None:
    begin(shop, "pause")
    (bulk,) = foxes.bulks.last()
    press = log_in_as("press")
    assert press.get(f"/bulk/{bulk.id}").status_code == 404
    for verb in ("start", "abort"):
        assert act(press, "/bulk", f"/bulk/{bulk.id}/{verb}").status_code == 404
    assert bulk.id not in press.get("/bulk").text
