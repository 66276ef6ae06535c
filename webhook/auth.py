"""Who may call what: everything needs a key, but for what is named as public, and a key the scope of the call."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, request

from jobs.access import Scope
from webhook.keys import Caller, KnownKeys
from webhook.problems import ProblemError

#: Endpoints without a key. The callback's address carries its own proof; the others are for operations and people.
PUBLIC = frozenset(
    {
        "callbacks.take",
        "health.healthz",
        "health.readyz",
        "health.metrics",
        "pages.index",
        "pages.asset",
        "api-docs.openapi_json",
        "api-docs.openapi_swagger_ui",
    }
)
#: Below these not even what is not there is told to strangers.
_PRODUCERS = ("/v1", "/model/v1")
_ASK = {"WWW-Authenticate": 'Bearer realm="boomerang"'}

View = TypeVar("View", bound=Callable[..., Any])


def needs(scope: Scope, view: View) -> View:
    """The view, marked with the scope that a key must have for it (`webhook.openapi.operation` asks for it)."""
    view.scope = scope  # type: ignore[attr-defined] # decorators hand a function's attributes on
    return view


def scope_of(app: Flask, endpoint: str) -> Scope:
    """What a key must have for this endpoint; a view that names nothing is an administrator's."""
    return cast("Scope", getattr(app.view_functions[endpoint], "scope", Scope.ADMIN))


def protect(app: Flask, keys: KnownKeys) -> None:
    """Check every request but the public ones; a view that is added later is protected without being named."""

    @app.before_request
    def check() -> None:
        endpoint = request.endpoint
        if endpoint in PUBLIC:
            return
        if endpoint is None and not request.path.startswith(_PRODUCERS):
            return  # a plain 404 or 405
        g.caller = of_header(keys, request.headers.get("Authorization"))
        if endpoint is not None:
            _check_scope(g.caller, scope_of(current_app, endpoint))


def of_header(keys: KnownKeys, authorization: str | None) -> Caller:
    """Who the header says that it is. Raises `ProblemError` where it carries no key that opens anything."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise ProblemError(401, "Send a producer's key: `Authorization: Bearer <key>`.", headers=_ASK)
    found = keys.of_secret(secret.strip())
    if found is None:
        raise ProblemError(401, "This key is not valid (any more); ask whoever runs the service for one.", headers=_ASK)
    return found


def _check_scope(caller: Caller, scope: Scope) -> None:
    if not caller.may(scope):
        raise ProblemError(
            403,
            f"This key lacks the scope `{scope}`, which this call needs; ask whoever runs the service for one with it.",
            scope=scope.value,
        )


def caller() -> Caller:
    """Whose key this request came with; nobody's where it needs none."""
    return cast("Caller", g.get("caller") or Caller())
