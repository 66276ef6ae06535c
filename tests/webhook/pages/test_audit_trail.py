"""The page of the audit trail: whose entries, filters, links, and text from outside."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.audit_trail import Action, Via, bounded
from jobs.owners import ANYONE
from jobs.store.store import Store
from tests.support.browser import act

MARKUP = "<script>evil()</script>\"'><b>/../\u202e"


def record(store: Store, owner: str = "shop", operation: str = "batch_actions.pause", **details: str) -> None:
    store.audit_trail.record(
        Action(
            owner=owner,
            key="1ca413871420",
            by="boss" if owner == ANYONE else owner,
            operation=operation,
            via=Via.API,
            status=200,
            request="4f0c1d7a9b2e8356",
            details=bounded(details),
        )
    )


def test_without_entries_it_says_what_leaves_one(pages: object, log_in_as: Callable[..., FlaskClient]) -> None:
    browser = log_in_as("shop", Scope.READ)
    assert browser.get("/audit-trail?operation=pause").status_code == 200
    # The login itself is one.
    assert "pages.enter" in browser.get("/audit-trail").text


def test_a_producer_sees_its_own(shop: FlaskClient, admin: FlaskClient, store: Store) -> None:
    for owner in ("shop", "press", ANYONE):
        record(store, owner, operation=f"by.{owner.replace(ANYONE, 'boss')}", batch_id="boats@shop")
    seen, everything = shop.get("/audit-trail").text, admin.get("/audit-trail").text
    assert "by.shop" in seen
    assert "by.press" not in seen
    assert "by.boss" not in seen
    assert all(f"by.{name}" in everything for name in ("shop", "press", "boss"))
    assert 'href="/batches/boats"' in seen
    assert 'href="/batches/boats@shop"' in everything


def test_what_is_named_is_linked_as_far_as_the_key_may_open_it(
    shop: FlaskClient, admin: FlaskClient, store: Store
) -> None:
    for owner in ("shop", ANYONE):
        record(
            store, owner, job_id="fox@shop", lane="default", bulk="0123456789abcdef", producer="shop", host="h.example"
        )
    seen, everything = shop.get("/audit-trail?operation=pause").text, admin.get("/audit-trail?key=boss").text
    for link in ("/jobs/fox", "/lanes/default", "/bulk/0123456789abcdef", "/deliveries?host=h.example"):
        assert f'href="{link}"' in seen, link
    assert "/keys/shop" not in seen
    assert 'href="/keys/shop"' in everything


@pytest.mark.parametrize("name", ["job_id", "batch_id", "lane", "host", "bulk", "name", "reason"])
def test_hostile_text_is_text(name: str, admin: FlaskClient, store: Store) -> None:
    record(store, operation=f"x{MARKUP}", **{name: MARKUP})
    text = admin.get("/audit-trail").text
    assert "evil()" in text
    assert "<script>evil" not in text
    assert "<b>" not in text
    assert not re.search(r'href="[^"?]*/\.\./', text)


def test_filters_pages_and_bad_ones(shop: FlaskClient, store: Store) -> None:
    for number in range(60):
        record(store, operation=f"number.{number:03}", job_id=f"fox-{number}@shop")
    address, found = "/audit-trail?operation=number", []
    while address:
        text = shop.get(address).text
        found += re.findall(r">(number\.[0-9]{3})<", text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        address = following[1].replace("&amp;", "&") if following else ""
    assert found == [f"number.{number:03}" for number in reversed(range(60))]
    assert re.findall(r">(number\.[0-9]{3})<", shop.get("/audit-trail?id=fox-7").text) == ["number.007"]
    for bad in ("since=x", "cursor=x", "operation=" + "x" * 300):
        assert shop.get(f"/audit-trail?{bad}").status_code == 422
    assert shop.get("/audit-trail?id=nothing").status_code == 200


def test_an_action_of_a_page_is_in_it(shop: FlaskClient, store: Store) -> None:
    act(shop, "/deliveries", "/deliveries/enable", host="h.example")
    text = shop.get("/audit-trail?id=h.example").text
    assert "pages.enable_delivery_host" in text
    assert "refused" in text


def test_a_damaged_entry_is_shown(shop: FlaskClient, store: Store) -> None:
    record(store)
    store.context.client.xadd("{b}:at:shop", {"x": "y"})
    text = shop.get("/audit-trail").text
    assert "damaged" in text
    assert "batch_actions.pause" in text


def test_it_costs_the_same_for_any_number_of_entries(
    shop: FlaskClient, store: Store, commands: Callable[[], int]
) -> None:
    def cost() -> int:
        before = commands()
        shop.get("/audit-trail")
        return commands() - before

    record(store)
    shop.get("/audit-trail")
    few = cost()
    for _ in range(80):
        record(store)
    # A second after the last request, the key is read once more.
    assert min(cost() for _ in range(3)) <= few
