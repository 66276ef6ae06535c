"""The blueprint of the pages, and how a page is added to it, shown and answered."""

from collections.abc import Callable, Collection
from functools import cache
from importlib.metadata import version
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.access.scopes import PAGES_BLUEPRINT, needs, scope_of
from webhook.http.bodies import MOST_FORM, read_form
from webhook.pages import formats
from webhook.pages.navigation import entries, is_current
from webhook.pages.static_files import version_of
from webhook.pages.theme import theme
from webhook.services import services

blueprint = Blueprint(PAGES_BLUEPRINT, __name__)

#: The header with which htmx asks for a part of a page.
HTMX = "HX-Request"
_FORM_BYTES = "form_bytes"

View = TypeVar("View", bound=Callable[..., Any])


def page(
    path: str, *, scope: Scope, methods: Collection[str] = ("GET",), form_bytes: int = MOST_FORM
) -> Callable[[View], View]:
    """Add a page at a path, or with `methods=["POST"]` an action. Its endpoint is `pages.` and the function's name.

    `scope`: what a key needs for it. `form_bytes`: the longest form that the action takes.
    """

    def decorate(view: View) -> View:
        setattr(view, _FORM_BYTES, form_bytes)
        blueprint.add_url_rule(path, view.__name__, needs(scope, view), methods=list(methods))
        return view

    return decorate


def show(template: str, *, part: str | None = None, **context: Any) -> Response:
    """Render a page; for a request by htmx only its `part`, the template of what changes."""
    name = part if part and HTMX in request.headers else template
    return _private(make_response(render_template(name, **context)))


def done(text: str, endpoint: str, **values: Any) -> ResponseReturnValue:
    """Go back to a page after an action, which then shows the text."""
    flash(text, "done")
    return redirect(url_for(endpoint, **values), 303)


def not_done(text: str, endpoint: str, **values: Any) -> ResponseReturnValue:
    """Go back to a page after an action that was refused. The page then shows why."""
    annotate(done="no")
    flash(text, "problem")
    return redirect(url_for(endpoint, **values), 303)


def may(scope: str) -> bool:
    """Return whether the caller may do what requires this scope. Templates leave out what it may not."""
    return caller().may(Scope(scope))


def page_url(endpoint: str, **values: Any) -> str | None:
    """Return the address of a page; None if the caller may not open it."""
    known = endpoint in current_app.view_functions
    return url_for(endpoint, **values) if known and caller().may(scope_of(current_app, endpoint)) else None


def lane_url(lane: str) -> str | None:
    """Return the address of a lane's page; None if the lane is no longer configured, or the caller may not open it."""
    is_configured = any(each.name == lane for each in services().settings.lanes)
    return page_url("pages.lane", lane=lane) if is_configured else None


def here() -> str:
    """Return the address of the page that is shown, for a form that comes back to it."""
    return request.full_path.removesuffix("?") if request.method == "GET" else "/"


@cache
def _version() -> str:
    return version("boomerang-jobs")


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.vary.add(HTMX)
    return response


@blueprint.record_once
def _add_helpers(state: Any) -> None:
    """Make what every template uses available, also to imported macros."""
    formats.install(state.app.jinja_env)
    state.app.jinja_env.globals.update(
        may=may,
        page_url=page_url,
        lane_url=lane_url,
        user=caller,
        navigation=entries,
        is_current=is_current,
        theme=theme,
        here=here,
        version=_version,
    )


@blueprint.app_url_defaults
def _add_version(endpoint: str, values: dict[str, Any]) -> None:
    """Name the content of a static file in its address, so that browsers may keep it for long."""
    if endpoint == "static" and (version := version_of(values.get("filename", ""))):
        values.setdefault("v", version)


@blueprint.before_app_request
def _limit_form() -> None:
    """Limit the size of forms on the pages, and read them. No other view reads a form (webhook.app)."""
    if request.blueprint == blueprint.name:
        most = getattr(current_app.view_functions[request.endpoint or ""], _FORM_BYTES, MOST_FORM)
        request.max_content_length = request.max_form_memory_size = most
        if most == MOST_FORM:
            read_form(request)
