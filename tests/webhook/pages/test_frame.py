"""What all pages have in common: who may open them, errors, the theme, the navigation and the static files."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from jobs.api_keys import Scope
from jobs.store.store import Store
from tests.support.browser import act, log_in
from webhook.access.scopes import PUBLIC, is_page, scope_of
from webhook.app import create_app
from webhook.pages.navigation import ENTRIES
from webhook.settings import Settings

STATIC = Path(__file__).parents[3] / "webhook" / "static"
HTMX_2_0_10 = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def rules_of(app: Flask) -> list[tuple[Rule, str, str]]:
    """All pages that need a key: rule, method, an address."""
    found = [rule for rule in app.url_map.iter_rules() if is_page(rule.endpoint) and rule.endpoint not in PUBLIC]
    return [
        (rule, method, re.sub("<.+?>", "x", rule.rule))
        for rule in found
        for method in sorted((rule.methods or set()) & {"GET", "POST"})
    ]


def test_every_page_requires_a_login(pages: Flask) -> None:
    checked = 0
    for rule, method, path in rules_of(pages):
        answer = pages.test_client().open(path, method=method)
        if path == "/openapi.json":
            assert answer.status_code == 401
            continue
        assert answer.status_code == 303, (rule, method)
        assert answer.headers["Location"].startswith("/login?to=/"), (rule, method)
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize("scope", [Scope.ENQUEUE, Scope.READ, Scope.CANCEL])
def test_a_page_that_a_key_may_not_open_says_which_scope_it_needs(
    scope: Scope, pages: Flask, log_in_as: Callable[..., FlaskClient]
) -> None:
    browser = log_in_as("shop", scope)
    for rule, method, path in rules_of(pages):
        answer = browser.open(path, method=method)
        needed = scope_of(pages, rule.endpoint)
        if rule.endpoint == "pages.leave" or not rule.endpoint.startswith("pages.") or needed is scope:
            assert answer.status_code != 403, rule
        else:
            assert answer.status_code == 403, rule
            assert answer.content_type.startswith("text/html")
            assert f"`{needed}`" in answer.text


def test_a_page_lists_only_the_pages_that_the_caller_may_open(
    pages: Flask, admin: FlaskClient, shop: FlaskClient
) -> None:
    with pages.test_request_context():
        addresses = {entry.endpoint: pages.url_map.bind("").build(entry.endpoint) for entry in ENTRIES}
    for browser, scope in ((admin, Scope.ADMIN), (shop, Scope.READ)):
        page = browser.get("/").text
        for entry in ENTRIES:
            listed = f'href="{addresses[entry.endpoint]}" data-key="{entry.key}"' in page
            assert listed == (scope is Scope.ADMIN or scope_of(pages, entry.endpoint) is not Scope.ADMIN), entry
    keys = [entry.key for entry in ENTRIES]
    assert len(set(keys)) == len(keys)


def test_the_page_that_is_open_is_marked_in_the_navigation(shop: FlaskClient) -> None:
    (current,) = re.findall(r'<a href="([^"]+)"[^>]*aria-current="page"', shop.get("/").text)
    assert current == "/"


def test_pages_are_kept_by_no_cache(shop: FlaskClient) -> None:
    for address in ("/", "/nothing"):
        assert shop.get(address, headers=HTML).headers["Cache-Control"] == "no-store"


def test_an_address_that_does_not_exist_is_a_page_for_browsers_only(shop: FlaskClient, client: FlaskClient) -> None:
    page = shop.get("/nothing", headers=HTML)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "Log out" in page.text
    assert "Log out" not in shop.application.test_client().get("/nothing", headers=HTML).text
    for path in ("/nothing", "/v1/nothing", "/model/v1/nothing"):
        assert client.get(path).mimetype in ("application/problem+json", "application/json")
    assert client.get("/v1/nothing", headers=HTML).mimetype == "application/problem+json"


def test_an_error_on_a_page_has_the_facts_of_the_problem(pages: Flask, shop: FlaskClient) -> None:
    def fail() -> str:
        raise RuntimeError("secret")

    pages.view_functions["pages.overview"] = fail
    answer = shop.get("/")
    # The view has no scope of its own now: only administrators may open it.
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    fail.scope = Scope.READ  # type: ignore[attr-defined]
    answer = shop.get("/")
    assert (answer.status_code, answer.mimetype) == (500, "text/html")
    assert "secret" not in answer.text
    assert "Log out" in answer.text


def test_a_page_that_cannot_be_read_while_redis_is_away_says_so(settings: Settings, store: Store) -> None:
    person = create_app(replace(settings, api_keys=("shop:one",), redis_url="redis://127.0.0.1:1/0")).test_client()
    log_in(person, "one")
    answer = act(person, "/", "/logout")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_part_of_a_page_is_sent_to_htmx_only(shop: FlaskClient) -> None:
    part = shop.get("/", headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert "<html" not in part.text
    assert "HX-Request" in part.headers["Vary"]
    assert "<html" in shop.get("/").text


def test_a_script_whose_session_has_ended_gets_no_login_page(person: FlaskClient) -> None:
    answer = person.get("/", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert "Location" not in answer.headers


def test_too_many_requests_of_a_session_are_refused(settings: Settings, store: Store) -> None:
    person = create_app(replace(settings, api_keys=("shop:one",), rate_limit="2/day"), store).test_client()
    log_in(person, "one")
    answers = [person.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].mimetype == "text/html"


@pytest.mark.parametrize(
    ("chosen", "kept"), [("dark", "dark"), ("light", "light"), ("system", "system"), ("x", "system")]
)
def test_the_theme_is_kept_without_a_script(chosen: str, kept: str, person: FlaskClient) -> None:
    answer = act(person, "/login", "/theme", theme=chosen, to="/login?to=/docs")
    assert answer.status_code == 303
    page = person.get("/login").text
    assert f'data-theme="{kept}"' in page
    assert re.findall(r'value="(\w+)" aria-pressed="true"', page) == [kept]


@pytest.mark.parametrize("theme", ['"><script>', "dark\r\nSet-Cookie: a=b", "é"])
def test_a_theme_from_a_stranger_is_not_shown(theme: str, person: FlaskClient) -> None:
    act(person, "/login", "/theme", theme=theme)
    assert 'data-theme="system"' in person.get("/login").text
    person.set_cookie("boomerang-theme", "x<script>")
    assert "<script>" not in person.get("/login").text


def test_choosing_a_theme_redirects_only_to_pages(shop: FlaskClient) -> None:
    assert act(shop, "/", "/theme", theme="dark", to="//elsewhere.example").headers["Location"] == "/"
    assert act(shop, "/", "/theme", theme="dark", to="/docs?a=1").headers["Location"] == "/docs?a=1"


def test_static_files_are_cached_by_their_content(person: FlaskClient) -> None:
    page = person.get("/login").text
    addresses = re.findall(r'"(/static/[^"]+)"', page)
    assert len(addresses) >= 5
    for address in addresses:
        path, _, version = address.partition("?v=")
        content = (STATIC / path.removeprefix("/static/")).read_bytes()
        assert hashlib.sha256(content).hexdigest().startswith(version)
        assert len(version) >= 8
        with person.get(address) as file:
            assert file.status_code == 200
            assert "max-age=31536000" in file.headers["Cache-Control"]


def test_htmx_is_the_file_of_its_release() -> None:
    assert hashlib.sha256((STATIC / "vendor" / "htmx.min.js").read_bytes()).hexdigest() == HTMX_2_0_10
    assert "Zero-Clause BSD" in (STATIC / "vendor" / "htmx.LICENSE").read_text("utf-8")


def test_htmx_may_run_no_text_as_code_and_calls_no_other_host(person: FlaskClient) -> None:
    config: Any = re.search("name=\"htmx-config\" content='([^']+)'", person.get("/login").text)
    for setting in ('"allowEval":false', '"includeIndicatorStyles":false', '"selfRequestsOnly":true'):
        assert setting in config[1]


def test_scripts_of_ours_run_no_text_as_code() -> None:
    for script in STATIC.glob("*.js"):
        text = script.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            script
        )
