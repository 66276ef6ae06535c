"""What a view requires of its caller: marks on views, and the endpoints that are public or pages."""

from collections.abc import Callable, Collection
from typing import Any, TypeVar, cast

from flask import Flask

from jobs.api_keys import Scope

#: The OpenAPI document, which programs fetch with a key.
API_DOCUMENT = "api-docs.openapi_json"
#: Endpoints without a key. A callback's path carries its own proof. The others are for operators and the login.
PUBLIC = frozenset(
    {
        "callbacks.take",
        "callbacks.verify",
        "health.healthz",
        "health.readyz",
        "health.metrics",
        "pages.login",
        "pages.enter",
        "pages.choose_theme",
        "pages.asset",
        "pages.favicon",
        "static",
    }
)
#: The blueprint of the pages for people: a session opens them, and so does a key.
PAGES_BLUEPRINT = "pages"
#: Pages that every key opens.
FOR_ALL = frozenset({"pages.leave", "api-docs.openapi_swagger_ui", API_DOCUMENT})
View = TypeVar("View", bound=Callable[..., Any])
#: Scopes of which each also suffices, and the query parameter with which it does; "": with any query.
OrScopes = tuple[Collection[Scope], str]


def needs(scope: Scope, view: View, or_scope: OrScopes | None = None) -> View:
    """Mark a view with the scope that it requires. `webhook.api.openapi.operation` does it for each operation.

    With one of the other scopes, the view permits less, and checks that itself.
    """
    view.scope, view.or_scope = scope, or_scope  # type: ignore[attr-defined] # decorators pass attributes on
    return view


def opens_with_link(view: View) -> View:
    """Mark a view of `job_id` and `index` that a signed link opens, too (jobs.links)."""
    view.opens_with_link = True  # type: ignore[attr-defined] # decorators pass attributes on
    return view


def takes_link(app: Flask, endpoint: str) -> bool:
    """Return whether a signed link opens an endpoint, too."""
    return bool(getattr(app.view_functions.get(endpoint), "opens_with_link", False))


def scope_of(app: Flask, endpoint: str) -> Scope:
    """Return the scope that an endpoint requires: `admin` if its view names none."""
    return cast("Scope", getattr(app.view_functions[endpoint], "scope", Scope.ADMIN))


def or_scope_of(app: Flask, endpoint: str) -> OrScopes:
    """Return the scopes that also open an endpoint, and the query parameter with which they do."""
    return cast("OrScopes | None", getattr(app.view_functions[endpoint], "or_scope", None)) or ((), "")


def is_page(endpoint: str) -> bool:
    """Return whether an endpoint is a page for people."""
    return endpoint in FOR_ALL or endpoint.partition(".")[0] == PAGES_BLUEPRINT
