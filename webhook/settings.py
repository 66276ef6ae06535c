"""The settings of the webhook process: the shared ones, the keys, and how large a body may be."""

from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, ValidationError, validate, validates_schema
from marshmallow import fields as ma

from jobs import settings as shared
from jobs.access import Scope
from schemas.signatures import check_secrets
from webhook.addresses import Network, Networks
from webhook.keys import Key
from webhook.rates import read_rates

#: A completed task of nine images with long signed URLs is below 20 KB (bytes).
CALLBACK_LIMIT = 256 * 1024
#: Four base64 images of 10 MB each are 54 MiB (bytes). A line of a batch is held to the same limit.
JOB_LIMIT = 64 * 1024 * 1024
#: Of each key, at each webhook process: what no producer needs that sends its jobs in batches, or waits for them.
RATE_LIMIT = "6000/minute"
#: Of Redis's `maxmemory`: what is left is for the results of the jobs that are there.
MEMORY_SHARE = 0.85
#: Bytes; a smaller number is a mistake, such as a share in percent.
LEAST_MEMORY = 1024 * 1024


def _valid_keys(texts: list[str]) -> None:
    problems: list[str] = []
    seen: set[bytes] = set()
    # By number: the keys themselves, or what is in front of a colon, would end up in a log.
    for number, text in enumerate(texts, 1):
        try:
            key = Key.parse(text)
        except ValueError as error:
            problems.append(f"key {number}: {error}")
            continue
        if key.digest in seen:
            problems.append(f"key {number}: its secret is there already; every key needs its own")
        seen.add(key.digest)
    if problems:
        raise ValidationError(problems)


def _rates(value: str) -> None:
    try:
        read_rates(value)
    except ValueError:
        raise ValidationError('must be "off" or limits such as "6000/minute" or "100/second; 50000/hour"') from None


def _share_or_bytes(value: float) -> None:
    if not (0 <= value <= 1 or value >= LEAST_MEMORY):
        raise ValidationError(
            f"must be a share of Redis's maxmemory from 0 to 1, such as {MEMORY_SHARE}, or bytes from {LEAST_MEMORY}; "
            "0 is no limit"
        )


class Environment(shared.Environment):
    """The variables of this process, as text."""

    api_keys = shared.CommaSeparated(data_key="BOOMERANG_API_KEYS", load_default=list, validate=_valid_keys)
    admin_keys = shared.CommaSeparated(data_key="BOOMERANG_ADMIN_KEYS", load_default=list, validate=_valid_keys)
    max_callback = ma.Integer(
        data_key="BOOMERANG_MAX_CALLBACK", load_default=CALLBACK_LIMIT, validate=validate.Range(min=1024)
    )
    max_body = ma.Integer(data_key="BOOMERANG_MAX_BODY", load_default=JOB_LIMIT, validate=validate.Range(min=1024))

    signature_secrets = shared.CommaSeparated(
        data_key="BOOMERANG_SIGNATURE_SECRETS", load_default=list, validate=check_secrets
    )
    callback_addresses = Networks(data_key="BOOMERANG_CALLBACK_ADDRESSES", load_default=list)
    trusted_proxies = Networks(data_key="BOOMERANG_TRUSTED_PROXIES", load_default=list)
    session_secret = ma.String(
        data_key="BOOMERANG_SESSION_SECRET", load_default=None, validate=validate.Length(min=shared.MIN_SECRET)
    )
    metrics_token = ma.String(
        data_key="BOOMERANG_METRICS_TOKEN", load_default=None, validate=validate.Length(min=shared.MIN_SECRET)
    )
    rate_limit = ma.String(data_key="BOOMERANG_RATE_LIMIT", load_default=RATE_LIMIT, validate=_rates)
    max_unfinished = ma.Integer(data_key="BOOMERANG_MAX_UNFINISHED", load_default=0, validate=validate.Range(min=0))
    max_memory = ma.Float(data_key="BOOMERANG_MAX_MEMORY", load_default=MEMORY_SHARE, validate=_share_or_bytes)

    @validates_schema
    def _check_keys(self, data: dict[str, Any], **_: Any) -> None:
        digests = {Key.parse(text).digest for text in data["api_keys"]}
        if any(Key.parse(text).digest in digests for text in data["admin_keys"]):
            raise ValidationError("has a secret of BOOMERANG_API_KEYS; every key needs its own", "admin_keys")


@dataclass(frozen=True, kw_only=True)
class Settings(shared.Settings):
    """What the webhook needs to know. Sizes in bytes.

    `api_keys` (producers') and `admin_keys` (which may do everything) as webhook.keys reads them,
    `rate_limit` as webhook.rates does. Beyond `max_unfinished` jobs (0: any number) or `max_memory` (up to 1 a share of
    Redis's own limit, above it bytes, 0: any) no more are taken in. With `signature_secrets` callbacks must be signed,
    too; with `callback_addresses` they must come from one of these, as `trusted_proxies` tell it. `session_secret`
    signs the pages' cookies (None: one of the process's own), `metrics_token` opens /metrics (None: it is open).
    """

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    admin_keys: tuple[str, ...] = field(default=(), repr=False)
    max_callback: int = CALLBACK_LIMIT
    max_body: int = JOB_LIMIT
    signature_secrets: tuple[str, ...] = field(default=(), repr=False)
    callback_addresses: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    session_secret: str | None = field(default=None, repr=False)
    metrics_token: str | None = field(default=None, repr=False)
    rate_limit: str = RATE_LIMIT
    max_unfinished: int = 0
    max_memory: float = MEMORY_SHARE

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that the environment names."""
        everything = frozenset({Scope.ADMIN})
        return (*map(Key.parse, self.api_keys), *(Key.parse(text, everything) for text in self.admin_keys))

    @classmethod
    def environment(cls) -> Schema:
        """The schema that reads this class's variables."""
        return Environment()
