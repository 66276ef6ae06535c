"""The page of deliveries: receivers, the log, and sending again."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.delivery_log import Attempt, NotificationState
from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.receivers import receiver_of
from jobs.store.store import Store
from tests.support.browser import act, token_of
from tests.support.hostile_text import HOSTILE

HOOK = "https://hooks.shop.example/jobs"
HOST = "hooks.shop.example"


@pytest.fixture
def end(store: Store) -> Callable[..., str]:
    """Return `end("one", "shop", "ReadTimeout", retry_in=60.0)`: an ended job whose notification failed.

    Without `retry_in` it is given up; without a reason it was accepted.
    """

    def make(name: str, owner: str = "shop", why: str = "", *, retry_in: float | None = None, url: str = HOOK) -> str:
        job_id = f"{name}@{owner}"
        owed = frozenset({Delivery.NOTIFY})
        store.jobs.enqueue([NewJob(id=job_id, text="{}", model="m", owed=owed, owner=owner)])
        store.jobs.cancel(job_id)
        (due,) = store.deliveries.claim([job_id])
        turn = store.deliveries.begin_notification(due, receiver_of(url), 10)
        tried = Attempt(id="x", at=due.now, address=url, status=503 if why else 200, took=1, error=why)
        store.deliveries.end_notification(due, turn, limit=10, random=0.5, retry_in=retry_in, why=why, attempt=tried)
        return job_id

    return make


def states(store: Store, owner: str = "shop") -> dict[str | None, NotificationState]:
    return {each.job: each.state for each in store.delivery_log.page([owner]).notifications}


def test_receivers_and_attempts_are_listed(end: Callable[..., str], shop: FlaskClient, admin: FlaskClient) -> None:
    end("good")
    end("bad", why="a strange refusal", retry_in=60.0)
    for browser in (shop, admin):
        page = browser.get("/deliveries").text
        assert HOST in page
        assert "a strange refusal" in page
        assert "failing" in page
        assert 'dir="auto">good</span>' in page
    assert "Producer" in admin.get("/deliveries").text
    assert "Producer" not in shop.get("/deliveries").text


def test_two_producers_see_and_send_their_own(
    end: Callable[..., str], shop: FlaskClient, log_in_as: Callable[..., FlaskClient], store: Store
) -> None:
    job_id = end("secret-job", why="secret-reason")
    press = log_in_as("press")
    for address in ("/deliveries", f"/deliveries?host={HOST}", "/deliveries?state=given_up"):
        for text in ("secret-job", "secret-reason"):
            assert text not in press.get(address).text
            assert text in shop.get(address).text
    act(press, "/deliveries", "/deliveries/replay", id=job_id)
    assert "There is no such delivery" in press.get("/deliveries").text
    act(press, "/deliveries", "/deliveries/replay-failed", host=HOST)
    act(press, "/deliveries", "/deliveries/enable", host=HOST)
    assert states(store) == {"secret-job": NotificationState.GIVEN_UP}


def test_one_is_sent_again(end: Callable[..., str], shop: FlaskClient, store: Store, caplog: Any) -> None:
    job_id = end("one", why="ReadTimeout")
    with caplog.at_level(logging.INFO, "boomerang.audit"):
        assert act(shop, "/deliveries", "/deliveries/replay", id=job_id).status_code == 303
    assert "It is sent again" in shop.get("/deliveries").text
    assert states(store) == {"one": NotificationState.PENDING}
    assert f"operation=pages.replay_delivery delivery={job_id}" in caplog.records[-1].getMessage()
    for unknown in ("", "nothing", "!nothing", HOSTILE):
        act(shop, "/deliveries", "/deliveries/replay", id=unknown)
        assert "There is no such delivery" in shop.get("/deliveries").text


def test_all_that_failed_at_a_host_are_sent_again(end: Callable[..., str], shop: FlaskClient, store: Store) -> None:
    for name in ("one", "two"):
        end(name, why="ReadTimeout", retry_in=None if name == "one" else 60.0)
    end("other", why="ReadTimeout", url="https://other.example/")
    end("good")
    answer = act(shop, "/deliveries", "/deliveries/replay-failed", host=HOST)
    assert answer.headers["Location"] == f"/deliveries?host={HOST}"
    assert f"sent again to {HOST}: 2." in shop.get("/deliveries").text
    found = states(store)
    assert found["one"] is NotificationState.PENDING
    assert found["two"] is NotificationState.FAILED  # as it was, but it is sent at once
    assert found["other"] is NotificationState.GIVEN_UP
    assert found["good"] is NotificationState.DELIVERED
    act(shop, "/deliveries", "/deliveries/replay-failed", host="")
    assert states(store)["other"] is NotificationState.PENDING


def test_a_receiver_is_enabled(end: Callable[..., str], admin: FlaskClient, store: Store) -> None:
    for number in range(6):
        end(f"job-{number}", why="ReadTimeout")
    act(admin, "/deliveries", "/deliveries/enable", host=HOST)
    assert f"Enabled {HOST}" in admin.get("/deliveries").text
    (health,) = store.delivery_log.receivers("shop")
    assert health.disabled_at is None
    assert health.open_until is None
    act(admin, "/deliveries", "/deliveries/enable", host="nothing.example")
    assert "No notification went to nothing.example" in admin.get("/deliveries").text


def test_who_only_reads_has_no_buttons(end: Callable[..., str], log_in_as: Callable[..., FlaskClient]) -> None:
    end("one", why="ReadTimeout")
    reader = log_in_as("shop", Scope.READ)
    page = reader.get("/deliveries")
    assert "/deliveries/replay" not in page.text
    assert "/deliveries/enable" not in page.text
    for action in ("replay", "replay-failed", "enable"):
        answer = reader.post(f"/deliveries/{action}", data={"csrf_token": token_of(page), "host": HOST})
        assert answer.status_code == 403


def test_the_log_has_pages(end: Callable[..., str], shop: FlaskClient) -> None:
    names = [f"job-{number:02}" for number in range(53)]
    for name in names:
        end(name)
    first = shop.get("/deliveries?state=delivered")
    second = shop.get(first.text.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&"))
    found = [name for name in names if f">{name}</span>" in first.text] + [
        name for name in names if f">{name}</span>" in second.text
    ]
    assert sorted(found) == names
    assert "First page" in second.text


@pytest.mark.parametrize("query", ["state=lost", "cursor=x", "cursor=bm90", "since=then", "host=" + "x" * 400])
def test_a_wrong_filter_is_named(query: str, shop: FlaskClient) -> None:
    page = shop.get(f"/deliveries?{query}")
    assert page.status_code == 422
    assert "message problem" in page.text or 'class="wrong"' in page.text


@pytest.mark.parametrize("text", [HOSTILE, "<script>alert(1)</script>", "\u202eabc", "x" * 2_500, "🦊" * 50])
def test_text_from_outside_is_text(text: str, end: Callable[..., str], shop: FlaskClient, admin: FlaskClient) -> None:
    end("one", why=text)
    for browser in (shop, admin):
        page = browser.get("/deliveries", query_string={"host": text[:200], "_external": "1", "endpoint": "x"})
        assert "<script>alert" not in page.text
        page = browser.get("/deliveries")
        assert page.status_code == 200
        assert "<script>alert" not in page.text
