"""Who may call what: everything needs a key, but for what is named as public, and a key the scope of the call."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope, digest_of
from webhook.access import sessions
from webhook.access.api_keys import Caller, KnownKeys
from webhook.access.audit_log import annotate
from webhook.access.rate_limits import Rates
from webhook.http.client_address import Address, Network, client_address
from webhook.http.problems import ProblemError

_DOCUMENT = "api-docs.openapi_json"
#: Endpoints without a key. The callback's address carries its own proof; the others are for operations and people.
PUBLIC = frozenset(
    {
        "callbacks.take",
        "health.healthz",
        "health.readyz",
        "health.metrics",
        "pages.login",
        "pages.enter",
        "pages.asset",
        "static",
    }
)
#: What people look at: a session opens it, or a key.
PAGES = frozenset({"pages.index", "pages.leave", "api-docs.openapi_swagger_ui", _DOCUMENT})
#: Below these not even what is not there is told to strangers.
_PRODUCERS = ("/v1", "/model/v1")
_ASK = {"WWW-Authenticate": 'Bearer realm="boomerang"'}

View = TypeVar("View", bound=Callable[..., Any])


def needs(scope: Scope, view: View) -> View:
    """The view, marked with the scope that a key must have for it (`webhook.api.openapi.operation` asks for it)."""
    view.scope = scope  # type: ignore[attr-defined] # decorators hand a function's attributes on
    return view


def scope_of(app: Flask, endpoint: str) -> Scope:
    """What a key must have for this endpoint; a view that names nothing is an administrator's."""
    return cast("Scope", getattr(app.view_functions[endpoint], "scope", Scope.ADMIN))


class Authenticator:
    """Tells who calls, as often as they may."""

    def __init__(self, keys: KnownKeys, rates: Rates, proxies: Sequence[Network] = ()) -> None:
        self._keys = keys
        self._rates = rates
        self._proxies = proxies

    def of_header(self, authorization: str | None) -> Caller:
        """Who the header says that it is. Raises a problem: 401 where it carries no key, 429 for too often."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ProblemError(401, "Send a producer's key: `Authorization: Bearer <key>`.", headers=_ASK)
        found = self.of_secret(secret.strip())
        self._rates.count(found.key)
        return found

    def of_secret(self, secret: str) -> Caller:
        """Who has this secret. Raises a problem where it opens nothing, or too many did not."""
        address, digest = self._address(), digest_of(secret)
        self._rates.may_guess(address, digest)
        found = self._keys.of_secret(secret)
        if found is None:
            self._rates.refused(address)
            annotate(refused="key")
            said = "This key is not valid (any more); ask whoever runs the service for one."
            raise ProblemError(401, said, headers=_ASK)
        self._rates.accepted(address, digest)
        return found

    def of_session(self) -> Caller | None:
        """Who logged in, while the key that was shown opens anything."""
        self._address()
        key_id = sessions.key()
        return self._keys.of_id(key_id) if key_id else None

    def still_opens(self, who: Caller) -> bool:
        """Whether the key of somebody who was let in opens anything yet. Raises `StoreUnavailable`."""
        return self._keys.of_id(who.key) is not None

    def _address(self) -> Address | None:
        """Where the request comes from; the audit log says it, too."""
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        g.address = client_address(request.remote_addr, forwarded_for, self._proxies)
        return cast("Address | None", g.address)


def protect(app: Flask, door: Authenticator) -> None:
    """Check every request but the public ones; a view that is added later is protected without being named."""
    app.extensions["boomerang-door"] = door

    @app.before_request
    def check() -> ResponseReturnValue | None:
        endpoint = request.endpoint
        if endpoint is None and not request.path.startswith(_PRODUCERS):
            return None  # a plain 404 or 405
        if endpoint in PUBLIC:
            return None
        if endpoint in PAGES:
            return _check_session(door, endpoint)
        g.caller = door.of_header(request.headers.get("Authorization"))
        if endpoint is not None:
            _check_scope(g.caller, scope_of(current_app, endpoint))
        return None


def _check_session(door: Authenticator, endpoint: str) -> ResponseReturnValue | None:
    who = door.of_session()
    if who is None and ("Authorization" in request.headers or endpoint == _DOCUMENT):
        who = door.of_header(request.headers.get("Authorization"))
    if who is None:
        if sessions.key():
            sessions.end()
        return redirect(url_for("pages.login", to=request.path), 303)
    g.caller = who
    return None


def _check_scope(caller: Caller, scope: Scope) -> None:
    if not caller.may(scope):
        raise ProblemError(
            403,
            f"This key lacks the scope `{scope}`, which this call needs; ask whoever runs the service for one with it.",
            scope=scope.value,
        )


def door() -> Authenticator:
    """That of the app that handles this request."""
    return cast("Authenticator", current_app.extensions["boomerang-door"])


def caller() -> Caller:
    """Whose key this request came with; nobody's where it needs none."""
    return cast("Caller", g.get("caller") or Caller())
