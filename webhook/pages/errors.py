"""Errors on pages: HTML with the same facts as the API's `application/problem+json`."""

from http import HTTPStatus

from flask import Response, g, make_response, render_template, request
from flask_wtf.csrf import CSRFError

from jobs.errors import StoreUnavailable
from webhook.access.auth import authenticator
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import blueprint

#: Below these paths no person looks for a page.
_MACHINES = ("/v1", "/model/v1", "/callbacks")
_HTML, _JSON = "text/html", "application/json"


def asks_for_page() -> bool:
    """Return whether a page answers this request: one of ours, or for a browser an address that does not exist."""
    if request.endpoint is not None or request.path.startswith(_MACHINES):
        return request.blueprint == blueprint.name
    return request.accept_mimetypes[_HTML] > request.accept_mimetypes[_JSON]


def error_page(problem: ProblemError) -> Response:
    """Return a page for a problem: what is wrong, where, and what to do."""
    _find_caller()
    errors = problem.errors.items() if hasattr(problem.errors, "items") else ()
    title = HTTPStatus(problem.status).phrase
    page = render_template("error.html", problem=problem, errors=errors, title=title)
    response = make_response(page, problem.status, problem.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.app_errorhandler(CSRFError)
def refuse_form(_: CSRFError) -> Response:
    """Answer a form whose CSRF token is missing, wrong or too old."""
    return error_page(
        ProblemError(400, "This form is too old, or came from another site. Nothing was changed. Open the page again.")
    )


def _find_caller() -> None:
    """Find out who has logged in, for the navigation, on an address that needs no key."""
    if "caller" not in g:
        try:
            found = authenticator().of_session()
        except StoreUnavailable:
            return
        if found is not None:
            g.caller = found
