"""Authentication: who makes a request, by a key, a session or a link, and how often they may.

`webhook.access.protection` checks every request with it.
"""

import hmac
import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import cast

from flask import current_app, g, request

from jobs.api_keys import Scope
from jobs.ended_sessions import EndedSessions
from jobs.errors import StoreUnavailable
from jobs.links import EXPIRES, NO_LINKS, SIGNATURE, Links
from jobs.owners import CELERY
from jobs.producer_ids import owner_in
from webhook.access import sessions
from webhook.access.api_keys import Caller, KnownKeys
from webhook.access.audit_log import annotate
from webhook.access.rate_limits import RateLimits, network_of
from webhook.http.client_address import Address, Network, client_address
from webhook.http.problems import ProblemError

#: Where an app keeps its authenticator.
EXTENSION = "boomerang-authenticator"
#: What a link with a signature may be, before anything is computed.
_NUMBER = re.compile(r"0|[1-9][0-9]{0,11}")
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="boomerang"'}


class Authenticator:
    """Finds out who calls, and limits how often."""

    def __init__(
        self,
        keys: KnownKeys,
        ended: Callable[[], EndedSessions],
        limits: RateLimits,
        proxies: Sequence[Network] = (),
        *,
        metrics_token: str | None = None,
        links: Links = NO_LINKS,
    ) -> None:
        self._links = links
        self._keys = keys
        self._ended = ended
        self._metrics_token = metrics_token
        self._limits = limits
        self._proxies = proxies

    def of_request(self) -> Caller:
        """Return who makes this API call: by its key, or from /docs by the session and its CSRF token.

        Raises a problem: 401 without a valid key or session, 429 for too many calls.
        """
        if "Authorization" in request.headers or sessions.TOKEN_HEADER not in request.headers:
            return self.of_header(request.headers.get("Authorization"))
        found = self.of_session() if sessions.has_token(request.headers[sessions.TOKEN_HEADER]) else None
        if found is None:
            raise ProblemError(
                401, "The login has ended, or this page is too old. Reload it and log in again.", headers=_CHALLENGE
            )
        self._limits.count(found.key)
        return found

    def of_header(self, authorization: str | None) -> Caller:
        """Return whose key the header carries. Raises a problem: 401 without a valid key, 429 for too many calls."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ProblemError(401, "Send a producer's key: `Authorization: Bearer <key>`.", headers=_CHALLENGE)
        found = self.of_secret(secret.strip())
        self._limits.count(found.key)
        return found

    def of_link(self, job_id: str, index: str) -> Caller:
        """Return who has the link of this request: for that output, its producer with no right but to read.

        Raises a problem: 403 for a link that is not valid, or has expired, 429 for too many calls.
        """
        address = self._address()
        expires, signature = request.args.get(EXPIRES, ""), request.args.get(SIGNATURE, "")
        readable = _NUMBER.fullmatch(index) and _NUMBER.fullmatch(expires)
        if not readable or not self._links.is_genuine(job_id, int(index), int(expires), signature):
            self._limits.refused(address)
            raise ProblemError(403, "This link is not valid. Ask for the job again: its outputs have new ones.")
        owner = owner_in(job_id) or CELERY
        found = Caller("link", owner, frozenset({Scope.READ}), by_link=True, network=network_of(address))
        self._limits.count(found.holder)
        if self._links.has_expired(int(expires)):
            raise ProblemError(403, "This link has expired. Ask for the job again: its outputs have new ones.")
        return found

    def of_secret(self, secret: str) -> Caller:
        """Return whose key this is. Raises a problem: 401 for an invalid one, 429 after too many of them."""
        address = self._address()
        found = self._keys.of_secret(secret)
        if found is None:
            self._limits.refused(address)
            annotate(refused="key")
            raise ProblemError(
                401, "This key is not valid, or no longer. Ask the operator for a key.", headers=_CHALLENGE
            )
        return found

    def of_session(self) -> Caller | None:
        """Return who has logged in, or None without a session, or if it or its key is no longer valid."""
        self._address()
        key_id = sessions.key()
        return self._keys.of_id(key_id) if key_id and not self._has_ended() else None

    def _has_ended(self) -> bool:
        """Return whether the person has logged out.

        While Redis is away nobody knows. The session is then valid: all that it opens is a page that says so.
        """
        try:
            return self._ended().has(sessions.identity()[0])
        except StoreUnavailable:
            return False

    def end_session(self) -> None:
        """End the session, also for copies of its cookie. Raises `StoreUnavailable`: it ended in this browser only."""
        known = sessions.identity() if sessions.key() else None
        sessions.forget()
        if known:
            session_id, until = known
            self._ended().add(session_id, until, datetime.now(UTC))

    def count(self, caller: Caller) -> None:
        """Count a request of the caller. Raises a problem, 429, for too many."""
        self._limits.count(caller.key)

    def may_read_details(self) -> bool:
        """Return whether the caller of a public endpoint may read what names lanes, costs and the provider's answers.

        That takes BOOMERANG_METRICS_TOKEN, or a key or session of an administrator. Raises a problem, 401 or 429, for
        an invalid key.
        """
        authorization = request.headers.get("Authorization")
        if authorization is None:
            found = self.of_session()
        elif self._is_metrics_token(authorization):
            return True
        else:
            found = self.of_header(authorization)
        return found is not None and found.admin

    def _is_metrics_token(self, authorization: str) -> bool:
        token = self._metrics_token
        given = authorization.encode("latin-1", "replace")
        return token is not None and hmac.compare_digest(given, f"Bearer {token}".encode())

    def is_still_valid(self, caller: Caller) -> bool:
        """Return whether the key of an earlier call is still valid. Raises `StoreUnavailable`."""
        return self._keys.of_id(caller.key) is not None

    def _address(self) -> Address | None:
        """Return the client's address, and keep it for the audit log."""
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        g.address = client_address(request.remote_addr, forwarded_for, self._proxies)
        return cast("Address | None", g.address)


def lacks(scope: Scope, others: Collection[Scope] = ()) -> ProblemError:
    """Return the problem, 403, of a caller without the scope, and without any of `others`, which suffice, too."""
    wanted = " or ".join(f"`{each}`" for each in (scope, *others))
    return ProblemError(
        403,
        f"This requires a key with the scope {wanted}, which yours lacks. Ask the operator for such a key.",
        scope=scope.value,
    )


def authenticator() -> Authenticator:
    """Return the authenticator of the current app."""
    return cast("Authenticator", current_app.extensions[EXTENSION])


def caller() -> Caller:
    """Return who makes the current request. A public view gets a caller without rights."""
    return cast("Caller", g.get("caller") or Caller())
