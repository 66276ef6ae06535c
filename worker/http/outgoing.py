"""The only HTTP client for URLs that producers chose, safe against server-side request forgery.

A name is resolved once, addresses that are not public are refused, and the connection goes to the checked address, so a
second DNS answer cannot redirect it (requests-hardened and `schemas.urls`). The client follows no redirect, uses no
proxy of the environment, does not read the answer's body, and ends the whole call by one deadline.
"""

import functools
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_hardened import ip_filter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from schemas.urls import NAT64, is_public
from worker.errors import NotifyFailed
from worker.http.deadline import DEADLINE, BoundedAdapter
from worker.http.name_lookup import bounded
from worker.http.session import Session

#: (connect, read) in seconds. Their sum bounds the whole call: a receiver should acknowledge and work later.
TIMEOUT = (3.05, 10.0)
# requests-hardened refuses all addresses of NAT64, without which a network with IPv6 only reaches nobody who has IPv4
# only. `_CheckedAdapter` judges them by their IPv4 address.
ip_filter.EXTRA_BLOCKED_NET_RANGES = tuple(each for each in ip_filter.EXTRA_BLOCKED_NET_RANGES if each != NAT64)


class _CheckedAdapter(BoundedAdapter, IPFilterAdapter):
    """Connects only to the address that it has checked."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        # requests-hardened resolves the name here and refuses private addresses, but not ::127.0.0.1, fec0::/10 and
        # unassigned ones.
        look_up = functools.partial(super().build_connection_pool_key_attributes, *args, **kwargs)
        try:
            host_params, pool_kwargs = bounded(look_up, DEADLINE.get())
        except TimeoutError as error:
            raise requests.ConnectTimeout(str(error)) from error
        address = ip_address(host_params["host"].strip("[]"))
        if not is_public(address):
            raise InvalidIPAddress(address)
        return host_params, pool_kwargs


class Outgoing:
    """Sends POSTs. `private_hosts` allows addresses that are not public, for local stacks and closed networks."""

    def __init__(self, *, private_hosts: bool = False, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._private_hosts = private_hosts
        self._timeout = timeout

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a POST and return the answer's status. Raises NotifyFailed, whose message does not contain the URL."""
        DEADLINE.set(time.monotonic() + sum(self._timeout))
        try:
            with Session() as session:
                for scheme in ("http", "https"):
                    session.mount(f"{scheme}://", self._adapter(scheme))
                session.headers["User-Agent"] = "boomerang"
                with session.post(
                    url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
                ) as answer:
                    return answer.status_code
        # ValueError: for example a name that IDNA cannot encode.
        except (requests.RequestException, OSError, ValueError) as error:
            raise NotifyFailed(type(error).__name__) from error

    def _adapter(self, scheme: str) -> HTTPAdapter:
        if self._private_hosts:
            return BoundedAdapter()
        return _CheckedAdapter(is_https_proto=scheme == "https")  # type: ignore[call-arg] # it ships no types
