"""Which address a request comes from, seen past our own proxies, and whether callbacks are taken from there."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from marshmallow import ValidationError

from jobs.setting_readers import CommaSeparated

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Networks(CommaSeparated):
    """`203.0.113.7, 2001:db8::/32` → networks; an address alone is a network of one."""

    def _deserialize(self, value: Any, *more: Any, **kwargs: Any) -> list[Any]:
        try:
            return [ip_network(part) for part in super()._deserialize(value, *more, **kwargs)]
        except ValueError as error:
            raise ValidationError(f"must be addresses or networks such as 203.0.113.0/24: {error}") from None


def client_address(peer: str | None, forwarded_for: str, proxies: Sequence[Network]) -> Address | None:
    """The last address of the way here that is none of `proxies`; None where it cannot be told.

    `peer` is who is connected; `forwarded_for`, the X-Forwarded-For, is believed only as far as our own proxies wrote
    it: from its end, one entry for each of them. Before that anybody may have written anything.
    """
    way = [peer or ""]
    if forwarded_for:
        way = [*forwarded_for.split(","), *way]
    address = None
    for text in reversed(way):
        address = _parsed(text.strip())
        if address is None or not _is_in(address, proxies):
            break
    return address


def is_taken_from(address: Address | None, networks: Sequence[Network]) -> bool:
    """Whether callbacks are taken from there; from anywhere where no network is named."""
    return not networks or (address is not None and _is_in(address, networks))


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families writes IPv4 peers as IPv6.
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
