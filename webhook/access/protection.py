"""The check of every request before its view runs: who calls, and whether the key suffices."""

from collections.abc import Collection
from urllib.parse import urlsplit

from flask import Flask, current_app, flash, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from jobs.links import SIGNATURE
from webhook.access import sessions
from webhook.access.api_keys import Caller
from webhook.access.auth import EXTENSION, Authenticator, lacks
from webhook.access.scopes import API_DOCUMENT, FOR_ALL, PUBLIC, is_page, or_scope_of, scope_of, takes_link
from webhook.http.connection import connection_of
from webhook.http.problems import ProblemError

#: Below these paths a caller without a key does not even learn which addresses exist.
_PRODUCERS = ("/v1", "/model/v1")
#: htmx sends it when it asks for a part of a page.
_PART = "HX-Request"


def protect(app: Flask, authenticator: Authenticator) -> None:
    """Check every request except the public ones. New views are protected without further code."""
    app.extensions[EXTENSION] = authenticator

    @app.before_request
    def check() -> ResponseReturnValue | None:
        endpoint = request.endpoint
        if endpoint is None and not request.path.startswith(_PRODUCERS):
            return None  # a plain 404 or 405
        if endpoint in PUBLIC:
            return None
        if endpoint is not None and is_page(endpoint):
            return _check_page(authenticator, endpoint)
        g.caller = _caller(authenticator, endpoint)
        if connection := connection_of(request.environ):
            connection.producer = g.caller.holder
        if endpoint is not None:
            others, parameter = or_scope_of(current_app, endpoint)
            suffice = others if not parameter or parameter in request.args else ()
            _check_scope(g.caller, scope_of(current_app, endpoint), suffice)
        return None


def _caller(authenticator: Authenticator, endpoint: str | None) -> Caller:
    """Return who calls: by a link where the view takes one and the request has no key."""
    by_link = takes_link(current_app, endpoint or "") and SIGNATURE in request.args
    if by_link and "Authorization" not in request.headers and request.view_args:
        return authenticator.of_link(request.view_args["job_id"], request.view_args["index"])
    return authenticator.of_request()


def _check_page(authenticator: Authenticator, endpoint: str) -> ResponseReturnValue | None:
    """Find out who opens a page, and whether the key suffices. Without a session, answer with the way to the login."""
    found = authenticator.of_session()
    if found is None and ("Authorization" in request.headers or endpoint == API_DOCUMENT):
        found = authenticator.of_header(request.headers.get("Authorization"))
    elif found is not None:
        authenticator.count(found)
    if found is None:
        had_one = sessions.is_begun()
        if had_one:
            sessions.forget()
        if _PART in request.headers:  # a script, which would show the login within the page
            raise ProblemError(401, "Your session has ended. Log in again.")
        if request.method != "GET":
            flash("Your session has ended, so nothing was changed. Log in and send the form again.", "problem")
        elif had_one:
            flash("Your session has ended. Log in again.", "note")
        return redirect(url_for("pages.login", to=_address_of_page()), 303)
    g.caller = found
    if connection := connection_of(request.environ):
        connection.producer = found.holder
    if endpoint not in FOR_ALL:
        _check_scope(found, scope_of(current_app, endpoint))
    return None


def _address_of_page() -> str:
    """Return the address to show after the login: for a form, that of the page that it was on."""
    if request.method == "GET":
        return request.full_path.removesuffix("?")
    page = urlsplit(request.referrer or "")
    return page._replace(scheme="", netloc="", fragment="").geturl() if page.netloc == request.host else "/"


def _check_scope(caller: Caller, scope: Scope, others: Collection[Scope] = ()) -> None:
    if not any(map(caller.may, (scope, *others))):
        raise lacks(scope, others)
