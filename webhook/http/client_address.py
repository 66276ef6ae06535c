"""The client's address behind our own proxies, and the addresses that may send callbacks."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from marshmallow import ValidationError

from jobs.setting_readers import CommaSeparated

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Networks(CommaSeparated):
    """A setting such as `203.0.113.7, 2001:db8::/32`, as networks. A single address is a network of one."""

    def _deserialize(self, value: Any, *more: Any, **kwargs: Any) -> list[Any]:
        try:
            return [ip_network(part) for part in super()._deserialize(value, *more, **kwargs)]
        except ValueError as error:
            raise ValidationError(f"must be addresses or networks such as 203.0.113.0/24: {error}") from None


def client_address(peer: str | None, forwarded_for: str, proxies: Sequence[Network]) -> Address | None:
    """Return the last address that is not one of our `proxies`, or None if it is unknown.

    `peer` is the connected address, `forwarded_for` the header X-Forwarded-For. Only the entries that our own proxies
    wrote count: from its end, one for each proxy. A client can write anything before them.
    """
    path = [peer or ""]
    if forwarded_for:
        path = [*forwarded_for.split(","), *path]
    address = None
    for text in reversed(path):
        address = _parsed(text.strip())
        if address is None or not is_in(address, proxies):
            break
    return address


def is_allowed(address: Address | None, networks: Sequence[Network]) -> bool:
    """Return whether callbacks may come from this address. Without networks, any address may send them."""
    return not networks or (address is not None and is_in(address, networks))


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows IPv4 peers as IPv6.
    return getattr(address, "ipv4_mapped", None) or address


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether the address is in one of the networks."""
    return any(address in network for network in networks)
