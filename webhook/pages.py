"""Pages for people: the start page, the login and the files of Swagger UI, all served by this process."""

from flask import Blueprint, Response, current_app, redirect, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from webhook.access import sessions
from webhook.access.audit_log import annotate
from webhook.access.auth import authenticator, caller
from webhook.api.openapi import ASSETS
from webhook.condition import OK, examine
from webhook.http.bodies import MOST_FORM, read_form
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("pages", __name__)

#: Seconds for which browsers may cache files that change with a release only.
_MAX_AGE = 86_400


@blueprint.get("/")
def index() -> str:
    """Show the start page, with the condition of the service."""
    return render_template("index.html", user=caller(), now=examine(services()), ok=OK)


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
    annotate(login="begun", key=found.key, producer=found.name)
    return redirect(_target(), 303)


@blueprint.post("/logout")
def leave() -> ResponseReturnValue:
    """End the session."""
    authenticator().end_session()
    return redirect(url_for("pages.login"), 303)


@blueprint.get(f"{ASSETS}<path:name>")
def asset(name: str) -> Response:
    """Send a file of Swagger UI."""
    return send_from_directory(swagger_ui_path, name, max_age=_MAX_AGE)


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """Send the icon that browsers ask for with every page."""
    return send_from_directory(current_app.static_folder or "static", "favicon.ico", max_age=_MAX_AGE)


@blueprint.before_app_request
def small_forms() -> None:
    """Limit the size of forms on the pages, and read them. No other view reads a form (webhook.app)."""
    if request.blueprint == blueprint.name:
        request.max_content_length = request.max_form_memory_size = MOST_FORM
        read_form(request)


@blueprint.app_errorhandler(CSRFError)
def refuse_form(_: CSRFError) -> ResponseReturnValue:
    """Answer a form whose CSRF token is missing, wrong or too old."""
    return _form("This form is too old, or came from another site. Try again."), 400


def _form(problem: str = "") -> str:
    return render_template("login.html", problem=problem, to=_target())


def _target() -> str:
    """Return the page to show after the login. Only our own pages: the parameter may come from a stranger."""
    to = request.args.get("to", "")
    return to if to == "/docs" else "/"
