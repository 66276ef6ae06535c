"""Connections that go to public addresses only."""

import functools
from ipaddress import ip_address
from typing import Any

import requests
from requests_hardened import ip_filter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter

from schemas.urls import NAT64, is_public
from worker.http.deadline import DEADLINE, BoundedAdapter
from worker.http.name_lookup import bounded

# requests-hardened refuses all addresses of NAT64, without which a network with IPv6 only reaches nobody who has IPv4
# only. They are judged by their IPv4 address here.
ip_filter.EXTRA_BLOCKED_NET_RANGES = tuple(each for each in ip_filter.EXTRA_BLOCKED_NET_RANGES if each != NAT64)


class CheckedAdapter(BoundedAdapter, IPFilterAdapter):
    """Connects only to the address that it has checked, so a second DNS answer cannot redirect it."""

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        # requests-hardened resolves the name here and refuses private addresses, but not ::127.0.0.1, fec0::/10 and
        # unassigned ones.
        look_up = functools.partial(super().build_connection_pool_key_attributes, *args, **kwargs)
        try:
            host_params, pool_kwargs = bounded(look_up, DEADLINE.get().at)
        except TimeoutError as error:
            raise requests.ConnectTimeout(str(error)) from error
        address = ip_address(host_params["host"].strip("[]"))
        if not is_public(address):
            raise InvalidIPAddress(address)
        return host_params, pool_kwargs


def adapter_for(scheme: str, *, private_hosts: bool) -> BoundedAdapter:
    """Return an adapter for http or https. `private_hosts` allows addresses that are not public."""
    if private_hosts:
        return BoundedAdapter()
    return CheckedAdapter(is_https_proto=scheme == "https")  # type: ignore[call-arg] # it ships no types
