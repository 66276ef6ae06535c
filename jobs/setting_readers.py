"""Fields and validators of settings."""

import ssl
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError
from marshmallow import fields as ma

from jobs.connections.sentinel import SCHEMES as SENTINEL_SCHEMES
from jobs.connections.sentinel import AddressInvalid, Watched, behind_sentinel


class CommaSeparated(ma.Field[list[str]]):
    """`a, b,,c` → `["a", "b", "c"]`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        return [part.strip() for part in str(value).split(",") if part.strip()]


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


def certificate_file(value: str) -> None:
    """Check that a file contains certificates in PEM."""
    try:
        ssl.create_default_context(cafile=value)
    except ssl.SSLError:
        raise ValidationError(
            f"{value} has no certificates in PEM; give a file with -----BEGIN CERTIFICATE-----"
        ) from None
    except OSError as error:
        raise ValidationError(
            f"{value} cannot be read ({error.strerror}); give a file of certificates in PEM"
        ) from None


REDIS_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)
#: kombu's schemes of the brokers with which the project is tested, and the schemes for Sentinel.
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "amqp", "amqps")
RESULT_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "rpc")
#: BOOMERANG_IMAGE_STORE: the Redis of the jobs.
IN_REDIS = "redis"


def image_store(value: str) -> None:
    if value == IN_REDIS:
        return
    if "://" not in value:
        raise ValidationError(f'must be "{IN_REDIS}" or a URL such as file:///srv/images or s3://bucket/images')
    if find_spec("fsspec") is None:
        raise ValidationError("needs the package fsspec, which is not installed: pip install fsspec")
    try:
        import_module("fsspec").get_filesystem_class(value.partition("://")[0])
    except (ValueError, ImportError) as error:
        raise ValidationError(f"cannot be used: {error}") from None
