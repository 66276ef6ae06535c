"""Two producers on every page: neither sees anything of the other's, or changes it."""

import itertools
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import Scope
from jobs.job_filter import JobFilter
from jobs.store.store import Store
from tests.support.browser import token_of
from tests.support.page_walk import HTMX, Form, walk
from tests.support.producer_data import fill, plain
from webhook.access.scopes import scope_of

pytestmark = pytest.mark.slow

#: The other's ids. Anything else in a path names nothing.
IDS = {"batch_id": "zebra-batch", "job_id": "zebra-done", "index": "0", "receiver": "zebra.example"}
#: Forms that every session has, for itself only.
OF_ALL = ("/theme", "/logout")
OURS, THEIRS = "panther", "zebra"


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store, "shop", plain(OURS))
    fill(store, "press", plain(THEIRS))
    return store


def endpoint_of(app: Flask, address: str, method: str) -> str:
    return str(app.url_map.bind("").match(urlsplit(address).path, method=method)[0])


def with_ids_of_the_other(app: Flask, method: str) -> Iterator[str]:
    """Yield the address of each page that takes something of a producer, for what the other one has."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("pages.") and method in (rule.methods or ()) and rule.arguments & IDS.keys():
            yield re.sub(r"<(?:\w+:)?(\w+)>", lambda found: IDS.get(found[1], "x"), rule.rule)


def jobs_of(store: Store, owner: str) -> dict[str, object]:
    return {job.id: job for job in store.jobs.page(JobFilter(owner=owner), limit=100).jobs}


def send(browser: FlaskClient, form: Form) -> tuple[int, bytes]:
    fields = {**form.fields, "csrf_token": token_of(browser.get("/"))}
    with browser.post(form.address, data=fields) as answer:
        return answer.status_code, answer.get_data()


def test_no_page_shows_anything_of_another_producer(filled: Store, log_in_as: Callable[..., FlaskClient]) -> None:
    for name, own, foreign in (("shop", OURS, THEIRS), ("press", THEIRS, OURS)):
        browser = log_in_as(name)
        for headers in ({}, HTMX):
            seen = walk(browser, **headers)
            assert {address: code for address, code in seen.status.items() if code >= 400} == {}
            assert [address for address, text in seen.answers.items() if foreign.encode() in text] == []
            assert [address for address in seen.answers if foreign in address] == []
            if not headers:
                shown = [address for address, text in seen.answers.items() if own.encode() in text]
                assert len(shown) >= 1, list(seen.answers)


def test_no_address_of_another_producer_opens(
    pages: Flask, filled: Store, log_in_as: Callable[..., FlaskClient]
) -> None:
    """Every address on the other's pages, and every rule of the URL map with the other's ids."""
    shop, press = log_in_as("shop"), log_in_as("press")
    addresses = set(walk(press).answers)
    addresses |= set(with_ids_of_the_other(pages, "GET"))
    for address, headers in itertools.product(sorted(addresses), ({}, HTMX)):
        with shop.get(address, headers=headers) as answer:
            named = THEIRS in address.partition("?")[0]
            assert not named or answer.status_code in (403, 404), (address, answer.status_code)
            # The page of an error, and a filter, repeat what the caller has sent.
            if not named and THEIRS not in address:
                assert THEIRS.encode() not in answer.get_data(), address


def test_no_form_of_another_producer_does_anything(
    pages: Flask, filled: Store, log_in_as: Callable[..., FlaskClient]
) -> None:
    """Every form on the other's pages, and every rule of the URL map that takes one, with the other's ids."""
    shop, press = log_in_as("shop"), log_in_as("press")
    before = jobs_of(filled, "press")
    assert len(before) >= 6
    forms = {address: form for address, form in walk(press).forms.items() if address not in OF_ALL}
    for address in with_ids_of_the_other(pages, "POST"):
        forms.setdefault(address, Form(address, "post"))
    for address, form in forms.items():
        code, _ = send(shop, form)
        if THEIRS in address.partition("?")[0]:
            assert code in (403, 404), (address, code)
    assert jobs_of(filled, "press") == before


SCOPES = [
    scopes
    for number in (1, 2)
    for scopes in itertools.combinations((Scope.READ, Scope.ENQUEUE, Scope.CANCEL), number)
    if Scope.READ in scopes
]


@pytest.mark.parametrize("scopes", SCOPES, ids=" ".join)
def test_a_page_has_only_links_and_buttons_that_the_key_may_use(
    scopes: tuple[Scope, ...], pages: Flask, filled: Store, log_in_as: Callable[..., FlaskClient]
) -> None:
    seen = walk(log_in_as("shop", *scopes))
    assert {address: code for address, code in seen.status.items() if code >= 400} == {}
    for address in seen.forms.keys() - set(OF_ALL):
        assert scope_of(pages, endpoint_of(pages, address, "POST")) in scopes, address


def test_a_session_that_reads_changes_nothing(
    pages: Flask, filled: Store, raw: redis.Redis, log_in_as: Callable[..., FlaskClient]
) -> None:
    """Links are only followed: whatever a crawler or a browser that loads ahead opens changes no job."""
    before = jobs_of(filled, "shop") | jobs_of(filled, "press")
    walk(log_in_as("shop"))
    walk(log_in_as("boss", Scope.ADMIN))
    assert jobs_of(filled, "shop") | jobs_of(filled, "press") == before
