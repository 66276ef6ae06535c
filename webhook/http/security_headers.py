"""Security headers for browsers (flask-talisman), and the CSRF token of forms (flask-wtf)."""

from collections.abc import Collection, Iterable
from typing import Any, cast

from flask import Blueprint, Flask, Response, request
from flask_talisman import Talisman
from flask_wtf import CSRFProtect

#: Scripts, styles and calls from our own origin only. No other page may frame ours.
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


_POLICY_HEADER = "Content-Security-Policy"


class _Headers(Talisman):  # type: ignore[misc] # flask-talisman ships no types
    """Sets the headers on every answer that a browser may read."""

    def __init__(self, app: Flask, *, without: Collection[str], **options: Any) -> None:
        self._without = without
        super().__init__(app, **options)

    def _set_response_headers(self, response: Response) -> Response:
        if request.blueprint in self._without:
            return response
        policy = response.headers.get(_POLICY_HEADER)
        answer = cast("Response", super()._set_response_headers(response))
        if policy:  # a stricter one, of a file
            answer.headers[_POLICY_HEADER] = policy
        return answer


def set_up(app: Flask, *, machines_only: Blueprint, api: Iterable[Blueprint]) -> None:
    """Send security headers, and check the CSRF token of forms.

    `machines_only` sends no headers: no browser reads its answers, and it answers most of all requests. `api` checks
    the token by itself, where a session authenticates the call.
    """
    _Headers(
        app,
        without={machines_only.name},
        # The proxy terminates TLS and redirects to it. The provider's callbacks follow no redirect.
        force_https=False,
        session_cookie_secure=False,  # webhook.access.sessions decides for each request
        session_cookie_samesite="Strict",
        content_security_policy=POLICY,
        frame_options="DENY",
        # Over TLS the check of the token needs the page that the form was on.
        referrer_policy="same-origin",
        strict_transport_security=True,
        strict_transport_security_include_subdomains=False,
    )
    csrf = CSRFProtect(app)
    for each in (machines_only, *api):
        csrf.exempt(each)
