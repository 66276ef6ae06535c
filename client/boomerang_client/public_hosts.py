"""Whether an address is public, so that a result's URL cannot make this machine call into a private network."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

#: The one block that IANA allocates addresses from, and ranges inside it that wrap an IPv4 address or are for
#: documentation (RFC 3056, 4380, 9637). `ipaddress` calls 6to4 global.
_ALLOCATED = IPv6Network("2000::/3")
_WRAPPED = (IPv6Network("2002::/16"), IPv6Network("2001::/32"), IPv6Network("3fff::/20"))
#: Where a network has only IPv6, its resolver returns IPv4 addresses in the last 32 bits of this block (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")
#: Protocol assignments of RFC 6890, and shared addresses of RFC 6598. Some releases of Python call them global.
_NOT_PUBLIC = (IPv4Network("192.0.0.0/24"), IPv4Network("100.64.0.0/10"))


class NotPublic(Exception):
    """A host has no public address. It is no OSError, which urllib3 would answer with another try."""


def is_public(address: "IPv4Address | IPv6Address") -> bool:
    """Return whether an address is public: not private, not reserved, and not another address wrapped.

    An address of NAT64 is what its IPv4 address is. Those of a local prefix (64:ff9b:1::/48, RFC 8215) are not public:
    where in them the IPv4 address is depends on the network.
    """
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC)
    return address in _ALLOCATED and not any(address in network for network in _WRAPPED)


def public_addresses(host: str, port: int) -> list[str]:
    """Resolve a name once, and return its public addresses. Raises NotPublic, and socket.gaierror."""
    found = [address for address in _resolve(host, port) if is_public(ip_address(address.partition("%")[0]))]
    if not found:
        raise NotPublic(host)
    return found


def is_at_private_address(url: str) -> bool:
    """Return whether the host of a URL has an address that is not public. False if it cannot be resolved."""
    parts = urlsplit(url)
    try:
        found = _resolve(parts.hostname or "", parts.port or 0)
    except (OSError, UnicodeError):
        return False
    return any(not is_public(ip_address(address.partition("%")[0])) for address in found)


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
