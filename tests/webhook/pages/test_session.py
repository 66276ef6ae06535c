"""Pages require a login, and cookies, forms and headers are secure."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient

from jobs.api_keys import PRODUCER, KeyRing
from jobs.ended_sessions import EndedSessions
from jobs.errors import SettingsInvalid
from jobs.store.store import Store
from tests.support.browser import log_in, token_of
from tests.support.waiting import WaitFor
from webhook.access.rate_limits import GUESSES
from webhook.access.sessions import LIFE, LONGEST_LIFE
from webhook.app import create_app
from webhook.settings import Settings

SESSION_SECRET = "a-session-secret-for-tests"
PAGES = ("/", "/docs", "/openapi.json")


def cookie_of(answer: Any) -> str:
    return str(answer.headers["Set-Cookie"])


@pytest.mark.parametrize("page", PAGES[:2])
def test_pages_require_a_login(page: str, person: FlaskClient) -> None:
    redirected = person.get(page)
    assert (redirected.status_code, redirected.headers["Location"]) == (303, f"/login?to={page}")
    entered = log_in(person, "one", to=page)
    assert (entered.status_code, entered.headers["Location"]) == (303, page)
    assert person.get(page).status_code == 200


def test_the_document_requires_a_key_or_a_login(person: FlaskClient) -> None:
    assert person.get("/openapi.json").status_code == 401
    assert person.get("/openapi.json", headers={"Authorization": "Bearer one"}).status_code == 200
    assert person.get("/openapi.json", headers={"Authorization": "Bearer two"}).status_code == 401
    log_in(person, "one")
    assert person.get("/openapi.json").status_code == 200


def test_wrong_keys_are_refused_and_then_rate_limited(person: FlaskClient) -> None:
    for _ in range(2 * GUESSES.amount):
        answer = log_in(person, "two")
        if answer.status_code == 429:
            break
        assert answer.status_code == 401
        assert "not valid" in answer.text
        assert person.get("/").status_code == 303
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    # A valid key is never counted as a guess
    assert log_in(person, "one").status_code == 303


@pytest.mark.parametrize(
    "to",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "///elsewhere.example",
        "/\\elsewhere.example",
        "\\\\elsewhere.example",
        "/\t/elsewhere.example",
        "\n//elsewhere.example",
        "/docs\r\nSet-Cookie: a=b",
        "/..//elsewhere.example",
        "@elsewhere.example",
        "javascript:alert(1)",
        "/v1/jobs",
        "/logout",
        "/login",
        "/nothing",
        "/healthz",
        "/static/base.css",
        "",
    ],
)
def test_the_login_redirects_only_to_pages(to: str, person: FlaskClient) -> None:
    assert log_in(person, "one", to=to).headers["Location"] == "/"


def test_the_login_keeps_the_query_of_a_page(person: FlaskClient) -> None:
    there = person.get("/docs?state=failed&label=a%3Db").headers["Location"]
    to = parse_qs(urlsplit(there).query)["to"][0]
    assert log_in(person, "one", to=to).headers["Location"] == "/docs?state=failed&label=a%3Db"


def test_a_form_without_a_session_leads_through_the_login_to_its_page(person: FlaskClient) -> None:
    from_page = {"Referer": "http://localhost/lanes/default?x=1"}
    there = person.post("/lanes/default/pause", headers=from_page).headers["Location"]
    assert parse_qs(urlsplit(there).query)["to"] == ["/lanes/default?x=1"]
    assert "nothing was changed" in person.get(there).text
    for other in ("http://elsewhere.example/lanes", "", "nonsense"):
        there = person.post("/lanes/default/pause", headers={"Referer": other}).headers["Location"]
        assert parse_qs(urlsplit(there).query)["to"] == ["/"]


def test_the_cookie_opens_pages_only(person: FlaskClient) -> None:
    cookie = cookie_of(log_in(person, "one"))
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "one" not in cookie.partition(";")[0].split("=", 1)[1]
    # The cookie opens no call of the API, so another site gains nothing when a browser sends it
    assert person.get("/v1/lanes").status_code == 401
    assert person.post("/v1/jobs/x/cancel").status_code == 401


def test_over_tls_the_cookie_is_secure_and_hsts_is_set(person: FlaskClient) -> None:
    plain = person.get("/login")
    person.delete_cookie("boomerang")
    safe = person.get("/login", base_url="https://localhost")
    assert "Secure" not in cookie_of(plain)
    assert "Secure" in cookie_of(safe)
    assert "Strict-Transport-Security" not in plain.headers
    assert "max-age=" in safe.headers["Strict-Transport-Security"]
    person.delete_cookie("boomerang")
    behind_a_proxy = person.get("/login", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in cookie_of(behind_a_proxy)


def test_over_tls_a_form_must_have_a_referer_of_the_same_origin(person: FlaskClient) -> None:
    options = {"base_url": "https://localhost"}
    assert log_in(person, "one", **options).status_code == 400
    assert log_in(person, "one", **options, headers={"Referer": "https://elsewhere.example/"}).status_code == 400
    assert log_in(person, "one", **options, headers={"Referer": "https://localhost/login"}).status_code == 303


@pytest.mark.parametrize("data", [{}, {"csrf_token": "guessed"}])
def test_a_form_without_its_token_is_refused(data: dict[str, str], person: FlaskClient) -> None:
    person.get("/login")
    refused = person.post("/login", data={**data, "key": "one"})
    assert refused.status_code == 400
    assert "Nothing was changed" in refused.text
    assert person.get("/").status_code == 303
    log_in(person, "one")
    assert person.post("/logout", data=data).status_code == 400
    assert person.get("/").status_code == 200


def test_every_posted_form_requires_a_token(pages: Flask) -> None:
    """A new form is checked by default."""
    pages.add_url_rule("/forms/new", "new", lambda: "done", methods=["POST"])
    person = pages.test_client()
    assert person.post("/forms/new", headers={"Authorization": "Bearer one"}).status_code != HTTPStatus.OK
    found = {rule.rule for rule in pages.url_map.iter_rules() if "POST" in (rule.methods or ())}
    forms = {rule for rule in found if not rule.startswith(("/v1", "/model/v1", "/callbacks"))}
    ours = {rule.rule for rule in pages.url_map.iter_rules() if rule.endpoint.startswith("pages.")}
    assert forms - ours == {"/forms/new"}


def test_logging_out_ends_the_session(person: FlaskClient) -> None:
    log_in(person, "one")
    token = token_of(person.get("/"))
    assert person.post("/logout", data={"csrf_token": token}).headers["Location"] == "/login"
    assert person.get("/").status_code == 303


def copy_of(person: FlaskClient, app: Flask) -> FlaskClient:
    """A browser with a copy of the person's cookie."""
    cookie = person.get_cookie("boomerang")
    assert cookie is not None
    thief = app.test_client()
    thief.set_cookie("boomerang", cookie.value)
    return thief


def test_logging_out_ends_copies_of_the_session_in_every_process(
    person: FlaskClient, pages: Flask, settings: Settings, store: Store
) -> None:
    log_in(person, "one")
    other = create_app(replace(settings, api_keys=("shop:one",), session_secret=SESSION_SECRET), store)
    elsewhere = pages.test_client()
    log_in(elsewhere, "one")
    token = token_of(person.get("/"))
    # An answer without a session makes the browser forget its cookie, so each request has a copy of its own.
    thieves, callers = ([copy_of(person, app) for app in (pages, other)] for _ in range(2))
    calls = {"X-CSRFToken": token}
    assert [thief.get("/").status_code for thief in thieves] == [200, 200]
    assert [caller.get("/v1/lanes", headers=calls).status_code for caller in callers] == [200, 200]

    person.post("/logout", data={"csrf_token": token})

    assert [thief.get("/").status_code for thief in thieves] == [303, 303]
    assert [caller.get("/v1/lanes", headers=calls).status_code for caller in callers] == [401, 401]
    # Another session with the same key goes on
    assert elsewhere.get("/").status_code == 200


def test_a_session_has_a_longest_life_however_much_it_is_used(
    person: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(person, "one")
    begun = now = time.time()
    monkeypatch.setattr("webhook.access.sessions.time.time", lambda: now)
    for minutes in range(0, 12 * 60, 40):
        now = begun + 60 * minutes
        assert person.get("/").status_code == 200
    now = begun + 12 * 3600 + 2
    assert person.get("/").status_code == 303


def test_ended_sessions_are_forgotten_after_their_longest_life(store: Store, raw: Any) -> None:
    ended = EndedSessions(store.context.client, store.context.keys)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ended.add("first", start + LONGEST_LIFE, start)
    assert ended.has("first")
    assert not ended.has("second")
    ended.add("second", start + 2 * LONGEST_LIFE, start + LONGEST_LIFE + timedelta(seconds=1))
    assert not ended.has("first")
    assert raw.zcard(store.context.keys.singleton("logged_out")) == 1


def test_a_log_out_that_cannot_be_recorded_is_not_called_one(settings: Settings, store: Store) -> None:
    app = create_app(replace(settings, api_keys=("shop:one",), session_secret=SESSION_SECRET), store)
    person = app.test_client()
    log_in(person, "one")
    token = token_of(person.get("/"))
    away = create_app(
        replace(settings, redis_url="redis://127.0.0.1:1/0", session_secret=SESSION_SECRET, api_keys=("shop:one",))
    )
    browser = copy_of(person, away)
    assert browser.post("/logout", data={"csrf_token": token}).status_code == 503
    # Then the browser has forgotten it at least
    assert browser.get("/").status_code == 303


def test_a_session_of_the_version_before_requires_a_login(person: FlaskClient, pages: Flask) -> None:
    log_in(person, "one")
    with person.session_transaction() as session:
        del session["id"], session["begun"]
    assert person.get("/").status_code == 303


def test_a_session_ends_when_its_key_is_revoked(person: FlaskClient, store: Store, wait_for: WaitFor) -> None:
    ring = KeyRing(store.context.client, store.context.keys)
    key, secret = ring.add("press", PRODUCER)
    log_in(person, secret)
    assert "press" in person.get("/").text
    ring.revoke(key.id)
    wait_for(lambda: person.get("/").status_code == 303)


def test_a_session_expires(person: FlaskClient, pages: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(person, "one")
    serializer = SecureCookieSessionInterface().get_signing_serializer(pages)
    cookie = person.get_cookie("boomerang")
    assert cookie is not None
    assert serializer.loads(cookie.value, max_age=int(LIFE.total_seconds()))["key"].startswith("env-")
    monkeypatch.setitem(pages.config, "PERMANENT_SESSION_LIFETIME", -LIFE)
    assert person.get("/").status_code == 303


def test_a_cookie_signed_with_another_secret_is_refused(person: FlaskClient, store: Store) -> None:
    log_in(person, "one")
    cookie = person.get_cookie("boomerang")
    assert cookie is not None
    for secret, status in ((SESSION_SECRET, 200), ("another-session-secret", 303), (None, 303)):
        other = create_app(Settings(api_keys=("shop:one",), session_secret=secret), store).test_client()
        other.set_cookie("boomerang", cookie.value)
        assert other.get("/").status_code == status


def test_a_session_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_SESSION_SECRET"):
        Settings.from_env({"BOOMERANG_SESSION_SECRET": "short"})


def test_an_oversized_form_is_refused(person: FlaskClient) -> None:
    token = token_of(person.get("/login"))
    assert person.post("/login", data={"csrf_token": token, "key": "x" * 100_000}).status_code == 413


@pytest.mark.parametrize("path", ["/login", "/healthz", "/v1/lanes", "/nothing"])
def test_every_answer_has_the_security_headers(path: str, person: FlaskClient) -> None:
    headers = person.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert not [sources for sources in policy.values() if "unsafe" in sources or "http" in sources or "*" in sources]


@pytest.mark.parametrize("page", ["/", "/docs", "/login"])
def test_pages_load_only_local_files_and_have_no_inline_script(page: str, person: FlaskClient) -> None:
    log_in(person, "one")
    text = person.get(page).text
    addresses = re.findall(r'(?:src|href|action|data-document)="([^"#][^"]*)"', text)
    assert addresses
    for address in addresses:
        assert address.startswith("/"), address
        with person.get(address.partition("?")[0]) as linked:
            assert linked.status_code in (200, 405), address
    # The content security policy would block them
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", text)


def test_api_calls_set_no_cookie(person: FlaskClient) -> None:
    for path in ("/v1/lanes", "/healthz", "/openapi.json"):
        answer = person.get(path, headers={"Authorization": "Bearer one"})
        assert "Set-Cookie" not in answer.headers


def test_browsers_get_an_icon_without_a_login(person: FlaskClient) -> None:
    with person.get("/favicon.ico") as icon:
        assert (icon.status_code, icon.content_type) == (200, "image/vnd.microsoft.icon")
        assert icon.data.startswith(b"\0\0\1\0")
        assert {"public", "max-age=86400"} <= set(icon.headers["Cache-Control"].split(", "))
        assert "Set-Cookie" not in icon.headers
