"""Validation of the servers' URLs."""

from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError

from jobs.connections.sentinel import SCHEMES as SENTINEL_SCHEMES
from jobs.connections.sentinel import AddressInvalid, Watched, behind_sentinel

REDIS_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)
#: kombu's schemes of the brokers with which the project is tested, and the schemes for Sentinel.
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "amqp", "amqps")
RESULT_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "rpc")


def url_of(*schemes: str) -> Any:
    """Return a validator of absolute URLs with one of these schemes and a host (with `unix`, a path)."""

    def check(value: str) -> None:
        if behind_sentinel(value) and set(SENTINEL_SCHEMES) <= set(schemes):
            try:
                Watched.from_url(value)
            except AddressInvalid as error:
                raise ValidationError(str(error)) from None
            return
        try:
            parts = urlsplit(value)
            # A socket has a path instead of a host. "rpc://" means the broker and needs neither.
            place = {"unix": parts.path, "redis+socket": parts.path, "rpc": "rpc"}.get(parts.scheme, parts.hostname)
        except ValueError:
            place = None
        if not place or parts.scheme not in schemes:
            # Without the value, which may contain a password.
            raise ValidationError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")

    return check
