"""What a person sees who opens the address in a browser. All is served from this machine alone."""

from flask import Blueprint, Response, redirect, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from webhook.access import sessions
from webhook.access.audit_log import annotate
from webhook.access.auth import caller, door
from webhook.api.openapi import ASSETS
from webhook.http.problems import ProblemError

blueprint = Blueprint("pages", __name__)

#: Bytes: a key and the form's token.
_LONGEST_FORM = 8 * 1024


@blueprint.get("/")
def index() -> str:
    """Where to go from here."""
    return render_template("index.html", who=caller())


@blueprint.get("/login")
def login() -> str:
    """Asks for a key."""
    return _form()


@blueprint.post("/login")
def enter() -> ResponseReturnValue:
    """Begins a session with the key."""
    annotate(login="refused")
    try:
        who = door().of_secret(request.form.get("key", "").strip())
    except ProblemError as problem:
        return _form(problem.detail), problem.status, problem.headers
    sessions.begin(who)
    annotate(login="begun", key=who.key, producer=who.name)
    return redirect(_wanted(), 303)


@blueprint.post("/logout")
def leave() -> ResponseReturnValue:
    """Ends the session."""
    sessions.end()
    return redirect(url_for("pages.login"), 303)


@blueprint.get(f"{ASSETS}<path:name>")
def asset(name: str) -> Response:
    """A file of Swagger UI."""
    return send_from_directory(swagger_ui_path, name, max_age=86_400)


@blueprint.before_app_request
def small_forms() -> None:
    """Read no more of a form than a page's own can have. Elsewhere none is read at all (webhook.app)."""
    if request.blueprint == blueprint.name:
        request.max_content_length = request.max_form_memory_size = _LONGEST_FORM


@blueprint.app_errorhandler(CSRFError)
def not_from_here(_: CSRFError) -> ResponseReturnValue:
    """A form that was open for too long, or is not ours."""
    return _form("This form was open for too long, or came from elsewhere. Try again."), 400


def _form(wrong: str = "") -> str:
    return render_template("login.html", wrong=wrong, to=_wanted())


def _wanted() -> str:
    """The page that was asked for; no address that a stranger has put there."""
    to = request.args.get("to", "")
    return to if to == "/docs" else "/"
