"""Sessions of people who use the pages: a signed cookie that holds the id of the key they logged in with.

Each request looks the key up again, so that revoking a key ends its sessions, and the session's id, which is recorded
when its person logs out (jobs.ended_sessions). The API accepts a session only together
with its CSRF token in a header, for every method: another site can make a browser send the cookie, but cannot read
the token.
"""

import secrets
import time
from datetime import UTC, datetime, timedelta

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_wtf.csrf import validate_csrf

from webhook.access.api_keys import Caller

#: A session ends after this time without a request, and after this time in any case.
LIFE, LONGEST_LIFE = timedelta(hours=1), timedelta(hours=12)
#: Header for the session's CSRF token (`csrf_token()` in templates).
TOKEN_HEADER = "X-CSRFToken"  # noqa: S105 - the header's name
_KEY, _ID, _BEGUN = "key", "id", "begun"
_ID_BYTES = 16


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
    session[_ID] = secrets.token_urlsafe(_ID_BYTES)
    session[_BEGUN] = int(time.time())


def key() -> str | None:
    """Return the id of the key that began the session, or None without a session or after its longest life."""
    if _ID not in session or time.time() - session[_BEGUN] >= LONGEST_LIFE.total_seconds():
        return None  # sessions of the version before have no id
    return session.get(_KEY)


def identity() -> tuple[str, datetime]:
    """Return the id of the session and the time of its end. Call only if there is a session."""
    return session[_ID], datetime.fromtimestamp(session[_BEGUN], UTC) + LONGEST_LIFE


def is_begun() -> bool:
    """Return whether the browser sent a session, valid or not."""
    return _KEY in session


def has_token(token: str) -> bool:
    """Return whether `token` is the CSRF token of this session, and not too old."""
    try:
        validate_csrf(token)
    except ValueError:  # wtforms.ValidationError is one
        return False
    return True


def forget() -> None:
    """Remove the session from the browser."""
    session.clear()
