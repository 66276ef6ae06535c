"""Check URLs in requests: http(s), and a host that looks public.

The provider must be able to fetch an image, and the notifier must not call into a private network. This module judges
names by their form only, and neither resolves a name nor connects. Code that connects must check the resolved address.
"""

import re
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

#: Characters. An image's URL may be longer, because one that S3 presigned contains a session token.
MAX_URL = 2048
MAX_IMAGE_URL = 8192

#: Set for local stacks only: also allows hosts that are not public. All other rules still apply.
PRIVATE_HOSTS_ALLOWED: ContextVar[bool] = ContextVar("PRIVATE_HOSTS_ALLOWED", default=False)

_REMEDY = "it must be reachable from the internet: give a public host"
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_HOST = 253

#: Names for private networks: RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and common practice.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".invalid")

#: The one block that IANA allocates addresses from, and ranges inside it that wrap an IPv4 address or are for
#: documentation (RFC 3056, 4380, 9637). `ipaddress` calls 6to4 global.
_ALLOCATED = IPv6Network("2000::/3")
_WRAPPED = (IPv6Network("2002::/16"), IPv6Network("2001::/32"), IPv6Network("3fff::/20"))
#: Where a network has only IPv6, its resolver returns IPv4 addresses in the last 32 bits of this block (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")

#: Protocol assignments of RFC 6890. Older releases of Python 3.11 call most of them global.
_PROTOCOLS = IPv4Network("192.0.0.0/24")


def url_problem(url: str, longest: int = MAX_URL) -> str | None:
    """Return what is wrong with a URL of at most `longest` characters and what to do, or None if it is valid."""
    if len(url) > longest:
        return f"is {len(url):,} characters long; a URL may have at most {longest:,}"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return (
            "contains characters that a URL cannot have; percent-encode them (in an international host, use punycode)"
        )
    return _parts_problem(url)


def _parts_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a valid URL: its host or port cannot be read; write https://host/path"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if "@" in parts.netloc:
        return "contains credentials; remove the part before the @ (a signed URL can have its token in the query)"
    if port == 0 or parts.netloc.endswith(":"):
        return "has an invalid port; leave it out, or give one from 1 to 65535"
    return _host_problem(host or "", PRIVATE_HOSTS_ALLOWED.get())


@lru_cache(maxsize=4096)
def _host_problem(host: str, private_allowed: bool) -> str | None:  # noqa: FBT001 - a cache key
    name = host.removesuffix(".")
    if "%" in name:
        return "has an invalid host; remove the zone (%eth0) or percent-encoding from it"
    if not name or len(name) > _LONGEST_HOST:
        return "has no host, or one that is too long; write https://host/path"
    labels = name.split(".")
    try:
        address = ip_address(name)
    except ValueError:
        # Most resolvers read 2130706433, 127.1, 0x7f.1 and 0177.0.0.1 as 127.0.0.1. The last label shows such a number.
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            return "has a number as its host; write an address as four decimal parts, or give a name"
        if not all(_LABEL.fullmatch(label) for label in labels):
            return "has an invalid host; write https://host/path"
        public = len(labels) > 1 and not f".{name}".endswith(_PRIVATE_SUFFIXES)
    else:
        public = is_public(address)
    return None if public or private_allowed else f"has the host {name[:80]}, which is not public; {_REMEDY}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is public: not private, not reserved, and not another address wrapped.

    An address of NAT64 is what its IPv4 address is. Those of a local prefix (64:ff9b:1::/48, RFC 8215) are not public:
    where in them the IPv4 address is depends on the network.
    """
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _PROTOCOLS
    return address in _ALLOCATED and not any(address in network for network in _WRAPPED)
