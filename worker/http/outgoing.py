"""The only HTTP client for URLs that producers chose, safe against server-side request forgery.

A name is resolved once, addresses that are not public are refused, and the connection goes to the checked address, so a
second DNS answer cannot redirect it (requests-hardened and `schemas.urls`). The client follows no redirect, uses no
proxy of the environment, does not read the answer's body, and ends the whole call by one deadline.
"""

from collections.abc import Mapping

import requests

from worker.errors import NotifyFailed
from worker.http.checked import adapter_for
from worker.http.deadline import DEADLINE, Deadline
from worker.http.session import Session

#: (connect, read) in seconds. Their sum bounds the whole call: a receiver should acknowledge and work later.
TIMEOUT = (3.05, 10.0)


class Outgoing:
    """Sends POSTs. `private_hosts` allows addresses that are not public, for local stacks and closed networks."""

    def __init__(self, *, private_hosts: bool = False, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._private_hosts = private_hosts
        self._timeout = timeout

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a POST and return the answer's status. Raises NotifyFailed, whose message does not contain the URL."""
        DEADLINE.set(Deadline(sum(self._timeout)))
        try:
            with Session() as session:
                for scheme in ("http", "https"):
                    session.mount(f"{scheme}://", adapter_for(scheme, private_hosts=self._private_hosts))
                session.headers["User-Agent"] = "boomerang"
                with session.post(
                    url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                ) as answer:
                    return answer.status_code
        # ValueError: for example a name that IDNA cannot encode.
        except (requests.RequestException, OSError, ValueError) as error:
            raise NotifyFailed(type(error).__name__) from error
