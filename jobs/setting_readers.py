"""Fields and validators of settings."""

import re
import ssl
from importlib import import_module
from typing import Any

from marshmallow import ValidationError
from marshmallow import fields as ma


class CommaSeparated(ma.Field[list[str]]):
    """`a, b,,c` → `["a", "b", "c"]`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        return [part.strip() for part in str(value).split(",") if part.strip()]


class Ports(ma.Field[tuple[int, ...]]):
    """`80, 443` → `(80, 443)`; `any` → `()`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[int, ...]:
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if parts == ["any"]:
            return ()
        if not parts or not all(part.isascii() and part.isdigit() and 0 < int(part) < _PORTS for part in parts):
            raise ValidationError("must be ports from 1 to 65535, separated by commas, or any")
        return tuple(map(int, parts))


_PORTS = 65_536


#: Names of queues with wildcards, as both fnmatch and the ACL of Redis understand them (ops/access/start.sh).
_PATTERN = re.compile(r"[A-Za-z0-9._:*?-]+")


class QueuePatterns(ma.Field[list[str]]):
    """`shop*, orders.?` → `["shop*", "orders.?"]`; separated by commas or spaces."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        patterns = [part for part in re.split(r"[\s,]+", str(value)) if part]
        for each in patterns:
            if not _PATTERN.fullmatch(each):
                raise ValidationError(
                    f"{each}: must be names of queues, of letters, digits and . _ : -, with * for any text and ? for "
                    "one character, separated by spaces or commas"
                )
        return patterns


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


#: BOOMERANG_IMAGE_STORE: the Redis of the jobs.
IN_REDIS = "redis"


def image_store(value: str) -> None:
    if value == IN_REDIS:
        return
    if "://" not in value:
        raise ValidationError(f'must be "{IN_REDIS}" or a URL such as file:///srv/images or s3://bucket/images')
    _check_url(value)


def result_store(value: str) -> None:
    """Check the URL of a folder or bucket."""
    if "://" not in value:
        raise ValidationError("must be a URL such as file:///srv/results or s3://bucket/results")
    _check_url(value)


def _check_url(value: str) -> None:
    try:
        import_module("fsspec").get_filesystem_class(value.partition("://")[0])
    except (ValueError, ImportError) as error:
        raise ValidationError(f"cannot be used: {error}") from None
