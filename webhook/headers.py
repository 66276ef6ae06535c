"""Headers that tell browsers what our answers may do (flask-talisman), and the token that our forms must carry."""

from collections.abc import Iterable

from flask import Blueprint, Flask
from flask_talisman import Talisman
from flask_wtf import CSRFProtect

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


def set_up(app: Flask, doors: Iterable[Blueprint]) -> None:
    """`doors`: what a browser's cookie opens nothing at, so that a forged request has nothing to gain there."""
    Talisman(
        app,
        # TLS is the proxy's, which redirects as well; the provider's callbacks follow no redirect.
        force_https=False,
        session_cookie_secure=False,  # webhook.sessions says when
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
