"""Requests to addresses that others name: the one client for them.

A name is resolved once; every address that is not public is refused; the connection goes to the very address that was
judged, so no second answer of the name's server can lead it elsewhere (requests-hardened does that; `schemas.urls` has
the last word on the address). No redirect is followed, no proxy of the environment is asked, nothing of the answer's
body is read, and the whole call has one deadline, however slowly the other side reads or answers.
"""

import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from schemas.urls import is_public
from worker.errors import NotifyFailed
from worker.http.deadline import DEADLINE, BoundedAdapter

#: (connect, read) in seconds; together they bound the whole call. It is an acknowledgement, not a place to work.
TIMEOUT = (3.05, 10.0)


class _CheckedAdapter(BoundedAdapter, IPFilterAdapter):
    """Connects to the address that it judged, in bounded time."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        # The name becomes an address here, and requests-hardened has refused what it knows. It lets ::127.0.0.1,
        # fec0::/10 and what IANA has given to nobody through.
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(*args, **kwargs)
        address = ip_address(host_params["host"].strip("[]"))
        if not is_public(address):
            raise InvalidIPAddress(address)
        return host_params, pool_kwargs


class Outgoing:
    """`private_hosts`: hosts that are not public are allowed; for local stacks and closed networks."""

    def __init__(self, *, private_hosts: bool = False, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._private_hosts = private_hosts
        self._timeout = timeout

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer. Raises NotifyFailed without one; its text holds nothing of the address."""
        DEADLINE.set(time.monotonic() + sum(self._timeout))
        try:
            with requests.Session() as session:
                session.trust_env = False
                for scheme in ("http", "https"):
                    session.mount(f"{scheme}://", self._adapter(scheme))
                session.headers["User-Agent"] = "boomerang"
                with session.post(
                    url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                ) as answer:
                    return answer.status_code
        # ValueError: a name that cannot be written as IDNA, for one.
        except (requests.RequestException, OSError, ValueError) as error:
            raise NotifyFailed(type(error).__name__) from error

    def _adapter(self, scheme: str) -> HTTPAdapter:
        if self._private_hosts:
            return BoundedAdapter()
        return _CheckedAdapter(is_https_proto=scheme == "https")  # type: ignore[call-arg] # it ships no types
