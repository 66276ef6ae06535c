"""Which addresses may be handed on: http(s), and a host that looks public.

Nothing here resolves a name or opens a connection.

The provider must reach an image, and our notifier must not be led into a private network. Names are only judged by
their looks; whoever connects must judge the addresses that they resolve to once more.
"""

import re
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

MAX_URL = 2048

#: Set for local stacks only: hosts that are not public pass too. It changes no other rule.
PRIVATE_HOSTS_ALLOWED: ContextVar[bool] = ContextVar("PRIVATE_HOSTS_ALLOWED", default=False)

_REMEDY = "the other side must reach it from the internet: give a public host"
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_HOST = 253

#: Names that mean nothing outside one network: RFC 6761, RFC 6762, RFC 8375, ICANN's .internal, and common habit.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".corp", ".invalid")

#: The one block that IANA allocates addresses from, and what inside it wraps an IPv4 address or is for documents (RFC
#: 3056, 4380, 9637). `ipaddress` calls 6to4 global, and NAT64 (64:ff9b::/96, outside the block) too.
_ALLOCATED = IPv6Network("2000::/3")
_WRAPPED = (IPv6Network("2002::/16"), IPv6Network("2001::/32"), IPv6Network("3fff::/20"))

#: RFC 6890's protocol assignments: older releases of Python 3.11 call most of it global.
_PROTOCOLS = IPv4Network("192.0.0.0/24")


def url_problem(url: str) -> str | None:
    """What is wrong with an http(s) URL, with the remedy; None when it may be handed on."""
    if len(url) > MAX_URL:
        return f"is {len(url)} characters long; a URL may have at most {MAX_URL}"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return (
            "holds characters that a URL cannot have; percent-encode them (and write an international host as punycode)"
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
        return "holds credentials; remove the part before the @ (a signed URL can carry its token in the query)"
    if port == 0 or parts.netloc.endswith(":"):
        return "has no valid port; leave it out or give one from 1 to 65535"
    return _host_problem(host or "", PRIVATE_HOSTS_ALLOWED.get())


@lru_cache(maxsize=4096)
def _host_problem(host: str, private_allowed: bool) -> str | None:  # noqa: FBT001 - a cache key
    name = host.removesuffix(".")
    if "%" in name:
        return "names no valid host: neither a zone (%eth0) nor percent-encoding has a place in it"
    if not name or len(name) > _LONGEST_HOST:
        return "names no host; write https://host/path"
    labels = name.split(".")
    try:
        address = ip_address(name)
    except ValueError:
        # 2130706433, 127.1, 0x7f.1 and 0177.0.0.1 are 127.0.0.1 to most resolvers: the last label says that a number is
        # meant.
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            return "gives its host as a number; write an address as four decimal parts, or give a name"
        if not all(_LABEL.fullmatch(label) for label in labels):
            return "names no valid host; write https://host/path"
        public = len(labels) > 1 and not f".{name}".endswith(_PRIVATE_SUFFIXES)
    else:
        public = is_public(address)
    return None if public or private_allowed else f"names the host {name[:80]}, which is not public; {_REMEDY}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether anybody on the internet can be meant by it: not private, nor reserved, nor another address wrapped."""
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return address not in _PROTOCOLS
    return address in _ALLOCATED and not any(address in network for network in _WRAPPED)
