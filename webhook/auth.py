"""Who may call what: everything needs a producer's key, but for what is named as public."""

import hashlib
import hmac
from collections.abc import Sequence

from flask import Flask, g, request

from webhook.keys import Key
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


class ApiKeys:
    """The producers' keys, kept as digests."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [Key.parse(text) for text in keys]

    def check(self, authorization: str | None) -> str:
        """The name of the key that the header carries. Raises `ProblemError` where it carries none.

        All keys are compared, in constant time: neither which key matched nor how far shows in how long it takes.
        """
        if not self._keys:
            raise ProblemError(
                401, "No producer keys are set, so nobody may call this. Set BOOMERANG_API_KEYS.", headers=_ASK
            )
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ProblemError(
                401, "Send a key of BOOMERANG_API_KEYS without its name: `Authorization: Bearer <key>`.", headers=_ASK
            )
        # WSGI hands headers over as latin-1; hashing makes all lengths equal.
        digest = hashlib.sha256(key.strip().encode("latin-1", "replace")).digest()
        matches = [known.name for known in self._keys if hmac.compare_digest(digest, known.digest)]
        if not matches:
            raise ProblemError(
                401, "This key is not valid (any more); ask whoever runs the service for one.", headers=_ASK
            )
        return matches[0]


def protect(app: Flask, keys: ApiKeys) -> None:
    """Check every request but the public ones; a view that is added later is protected without being named."""

    @app.before_request
    def check() -> None:
        endpoint = request.endpoint
        if endpoint in PUBLIC:
            return
        if endpoint is None and not request.path.startswith(_PRODUCERS):
            return  # a plain 404 or 405
        g.caller = keys.check(request.headers.get("Authorization"))


def caller() -> str:
    """The name of the key that this request came with; '' where it needs none."""
    return str(g.get("caller", ""))
