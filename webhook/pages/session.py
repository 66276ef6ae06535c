"""The login, the logout, the choice of the theme, and the files that pages need."""

from flask import (
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from flask.typing import ResponseReturnValue
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from webhook.access import sessions
from webhook.access.audit_log import annotate
from webhook.access.auth import authenticator
from webhook.access.scopes import PUBLIC, is_page
from webhook.api.openapi import ASSETS
from webhook.http.problems import ProblemError
from webhook.pages import theme
from webhook.pages.blueprint import blueprint

#: Seconds for which browsers may cache files that change with a release only.
_MAX_AGE = 86_400
_START = "/"


@blueprint.get("/login")
def login() -> str:
    """Show the login form."""
    return _form()


@blueprint.post("/login")
def enter() -> ResponseReturnValue:
    """Begin a session with the key in the form."""
    annotate(login="refused")
    try:
        found = authenticator().of_secret(request.form.get("key", "").strip())
    except ProblemError as problem:
        return _form(problem.detail), problem.status, problem.headers
    sessions.begin(found)
    g.caller = found
    annotate(login="begun")
    return redirect(own_page(request.args.get("to", "")), 303)


@blueprint.post("/logout")
def leave() -> ResponseReturnValue:
    """End the session."""
    authenticator().end_session()
    return redirect(url_for("pages.login"), 303)


@blueprint.post("/theme")
def choose_theme() -> ResponseReturnValue:
    """Keep the theme that the form names, and go back to the page that it is on."""
    response = make_response(redirect(own_page(request.form.get("to", "")), 303))
    theme.keep(response, theme.parsed(request.form.get("theme", "")))
    return response


@blueprint.get(f"{ASSETS}<path:name>")
def asset(name: str) -> Response:
    """Send a file of Swagger UI."""
    return send_from_directory(swagger_ui_path, name, max_age=_MAX_AGE)


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Send the icon that browsers ask for with every page."""
    return send_from_directory(current_app.static_folder or "static", "favicon.ico", max_age=_MAX_AGE)


def own_page(address: str) -> str:
    """Return the address if it is one of our own pages, else that of the start page.

    It may come from a stranger. Browsers ignore tabs and line ends in addresses, and read a backslash as a slash.
    """
    if not address.startswith("/") or address.startswith("//") or "\\" in address or not address.isprintable():
        return _START
    path, mark, query = address.partition("?")
    try:
        endpoint, _ = current_app.url_map.bind("").match(path, method="GET")
    except (HTTPException, RequestRedirect):
        return _START
    return path + mark + query if is_page(endpoint) and endpoint not in PUBLIC else _START


def _form(problem: str = "") -> str:
    return render_template("login.html", problem=problem, to=own_page(request.args.get("to", "")))
