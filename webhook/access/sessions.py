"""Sessions of people who read the pages: a signed cookie that names the key that was shown, and nothing more.

The key is looked up at each request, so that a revoked one ends its sessions. No call of the API looks at the cookie.
"""

import secrets
from datetime import timedelta

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from webhook.access.api_keys import Caller

#: Without a look at a page for so long it is over.
LIFE = timedelta(hours=1)
_KEY = "key"


class _Sessions(SecureCookieSessionInterface):
    """Cookies that go over TLS alone where the page came over it; `make up` has none."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Callbacks and the API bring none, and need not wait for what would read it.
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's own signature
        # Who lies about it to us has a cookie that its own browser keeps back, and nobody else's.
        return request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"


def set_up(app: Flask, secret: str | None) -> None:
    """`secret` signs the cookies; without one they are good until this process ends."""
    app.session_interface = _Sessions()
    app.config.update(
        SECRET_KEY=secret or secrets.token_urlsafe(32),
        SESSION_COOKIE_NAME="boomerang",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=LIFE,
    )


def begin(who: Caller) -> None:
    """From now on this is who looks at the pages."""
    session.clear()
    session.permanent = True
    session[_KEY] = who.key


def key() -> str | None:
    """The id of the key that the session was begun with."""
    return session.get(_KEY)


def end() -> None:
    """Forget it."""
    session.clear()
