"""Sessions of people who use the pages: a signed cookie that holds the id of the key they logged in with.

Each request looks the key up again, so that revoking a key ends its sessions. The API accepts a session only together
with its CSRF token in a header, for every method: another site can make a browser send the cookie, but cannot read
the token.
"""

import secrets
from datetime import timedelta

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_wtf.csrf import validate_csrf

from webhook.access.api_keys import Caller

#: A session ends after this time without a request.
LIFE = timedelta(hours=1)
#: Header for the session's CSRF token (`csrf_token()` in templates).
TOKEN_HEADER = "X-CSRFToken"  # noqa: S105 - the header's name
_KEY = "key"


class _Sessions(SecureCookieSessionInterface):
    """Sets the cookie's Secure flag for pages that came over TLS. `make up` has no TLS."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Callbacks and calls with a key carry no cookie: they need not wait for the signature check.
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's own signature
        # Anyone may send this header. A false one only keeps the sender's own cookie back.
        return request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"


def set_up(app: Flask, secret: str | None) -> None:
    """Sign cookies with `secret`, or with a random one until this process ends."""
    app.session_interface = _Sessions()
    app.config.update(
        SECRET_KEY=secret or secrets.token_urlsafe(32),
        SESSION_COOKIE_NAME="boomerang",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=LIFE,
    )


def begin(caller: Caller) -> None:
    """Begin a session with the caller's key."""
    session.clear()
    session.permanent = True
    session[_KEY] = caller.key


def key() -> str | None:
    """Return the id of the key that began the session."""
    return session.get(_KEY)


def has_token(token: str) -> bool:
    """Return whether `token` is the CSRF token of this session, and not too old."""
    try:
        validate_csrf(token)
    except ValueError:  # wtforms.ValidationError is one
        return False
    return True


def end() -> None:
    """End the session."""
    session.clear()
