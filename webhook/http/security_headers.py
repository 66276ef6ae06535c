"""Headers that tell browsers what our answers may do (flask-talisman), and the token that our forms must carry."""

from collections.abc import Iterable
from typing import cast

from flask import Blueprint, Flask, Response, request
from flask_talisman import Talisman
from flask_wtf import CSRFProtect

from webhook import callbacks

#: Scripts, styles and calls of our own, and nothing from elsewhere; nobody frames us.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


class _Headers(Talisman):  # type: ignore[misc] # it ships no types
    """On all answers but those to the provider, of which there are most: no browser reads them."""

    def _set_response_headers(self, response: Response) -> Response:
        if request.blueprint == callbacks.blueprint.name:
            return response
        return cast("Response", super()._set_response_headers(response))


def set_up(app: Flask, doors: Iterable[Blueprint]) -> None:
    """`doors`: what a browser's cookie opens nothing at, so that a forged request has nothing to gain there."""
    _Headers(
        app,
        # TLS is the proxy's, which redirects as well; the provider's callbacks follow no redirect.
        force_https=False,
        session_cookie_secure=False,  # webhook.access.sessions says when
        session_cookie_samesite="Strict",
        content_security_policy=POLICY,
        frame_options="DENY",
        # The token's check over TLS wants to see where a form was.
        referrer_policy="same-origin",
        strict_transport_security=True,
        strict_transport_security_include_subdomains=False,
    )
    csrf = CSRFProtect(app)
    for each in doors:
        csrf.exempt(each)
