"""The settings of the webhook process: keys, secrets, limits, and those that all processes share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from jobs import settings as shared
from jobs.api_keys import Scope
from jobs.connections.urls import REDIS_SCHEMES, url_of
from jobs.secret_strength import MIN_SECRET, hard_to_guess, weakness
from jobs.setting import setting
from jobs.setting_readers import CommaSeparated
from jobs.settings import NO_CALLBACK_SECRETS
from schemas.signatures import check_secrets
from webhook.access.api_keys import Key
from webhook.access.rate_limits import read_rates
from webhook.http.client_address import Network, Networks
from webhook.job_links import check_template

#: Bytes. A completed task with nine images and long signed URLs has less than 20 KB.
CALLBACK_LIMIT = 256 * 1024
#: Bytes, of a single job or a line of a batch. Four base64 images of 10 MB each have 54 MiB.
JOB_LIMIT = 64 * 1024 * 1024
#: For each key, at each webhook process. A producer that sends batches or uses long polls needs less.
RATE_LIMIT = "6000/minute"
#: Bytes of bodies that one process holds. Reading the JSON in them takes a few times as much.
BODY_MEMORY = 256 * 1024 * 1024
#: Open connections. More than one address uses at once, also as a proxy that is not known to be one.
CONNECTION_LIMIT = 256
#: Share of all room: enough that others can work, little enough that one key can use most of it while it is alone.
KEPT_ROOM = 0.25
#: Share of Redis's `maxmemory`. The rest is for the results of accepted jobs.
MEMORY_SHARE = 0.85
#: Bytes. A smaller number is an error, such as a share in percent.
MIN_MEMORY = 1024 * 1024


def _valid_keys(texts: list[str]) -> None:
    problems: list[str] = []
    seen: set[bytes] = set()
    # Keys are named by number: a key, or the part before its colon, must not get into a log.
    for number, text in enumerate(texts, 1):
        try:
            key = Key.parse(text)
        except ValueError as error:
            problems.append(f"key {number}: {error}")
            continue
        if not key.hashed and (problem := weakness(text.partition(":")[2] or text)):
            problems.append(f"key {number}: {problem}")
        if key.digest in seen:
            problems.append(f"key {number}: another key has the same secret; every key needs its own")
        seen.add(key.digest)
    if problems:
        raise ValidationError(problems)


def _rates(value: str) -> None:
    try:
        read_rates(value)
    except ValueError:
        raise ValidationError(
            f'must be "off" or limits such as "6000/minute" or "100/second; 50000/hour", not "{value}"'
        ) from None


def _share_or_bytes(value: float) -> None:
    if not (0 <= value <= 1 or value >= MIN_MEMORY):
        raise ValidationError(
            f"is {value:g}; it must be a share of Redis's maxmemory from 0 to 1, such as {MEMORY_SHARE}, or at least "
            f"{MIN_MEMORY} bytes; 0 means no limit"
        )


@dataclass(frozen=True, kw_only=True)
class Settings(shared.Settings):
    """The settings of the webhook. Sizes in bytes.

    `webhook.access.api_keys` parses `api_keys` and `admin_keys`, and `webhook.access.rate_limits` parses `rate_limit`.
    """

    api_keys: tuple[str, ...] = setting(
        "BOOMERANG_API_KEYS",
        CommaSeparated,
        (),
        "Comma-separated keys of producers, `name:secret` each, or `name:sha256:` and the secret's SHA-256 in hex. "
        f"Producers send the secret: at least {MIN_SECRET} printable ASCII characters, without spaces or commas. The "
        "name (1 to 32 of a-z 0-9 _ -, not `celery`) is the owner of their jobs. Several secrets may have one name. A "
        "secret without a name is named `key-` and the first 8 hex digits of its SHA-256. These keys may enqueue, read "
        "and cancel their own jobs. For keys that change without a restart, or with fewer scopes, see "
        "[manage keys](guides/manage-keys.md).",
        secret=True,
        validate=_valid_keys,
    )
    admin_keys: tuple[str, ...] = setting(
        "BOOMERANG_ADMIN_KEYS",
        CommaSeparated,
        (),
        "The same, for keys that may do everything and see the jobs of all producers.",
        secret=True,
        validate=_valid_keys,
    )
    keys_redis_url: str | None = setting(
        "BOOMERANG_KEYS_REDIS_URL",
        ma.String,
        None,
        "The address of the jobs' Redis with a user that may write keys (`operator`). Set, administrators [make and "
        "revoke keys on the page](guides/manage-keys.md#on-the-page) `/keys`; then an attacker in the webhook can make "
        "keys, too. Unset: the page lists keys and shows the commands.",
        secret=True,
        validate=url_of(*REDIS_SCHEMES),
    )
    signature_secrets: tuple[str, ...] = setting(
        "BOOMERANG_SIGNATURE_SECRETS",
        CommaSeparated,
        (),
        "If the provider signs its callbacks by Standard Webhooks: its secrets, comma-separated, each `whsec_…`. Any "
        "of them is accepted. The webhook then refuses (403) a callback without a signature, or signed more than five "
        "minutes ago; a poll finds its result.",
        secret=True,
        validate=check_secrets,
    )
    callback_addresses: tuple[Network, ...] = setting(
        "BOOMERANG_CALLBACK_ADDRESSES",
        Networks,
        (),
        "If the provider publishes the addresses from which it calls: these addresses or networks, comma-separated "
        "(`203.0.113.7,2001:db8::/32`). The webhook refuses (403) a callback from elsewhere; a poll finds its result. "
        "Tokens and signatures are checked as well.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "BOOMERANG_TRUSTED_PROXIES",
        Networks,
        (),
        "Addresses or networks of your own proxies. The webhook trusts what one of them appends to `X-Forwarded-For`. "
        "Unset: it does not read the header. Behind a proxy, `BOOMERANG_CALLBACK_ADDRESSES` needs it.",
    )
    max_callback: int = setting(
        "BOOMERANG_MAX_CALLBACK",
        ma.Integer,
        CALLBACK_LIMIT,
        "Largest body of a callback that is read, at least 1024. A larger one with a valid token only triggers a poll.",
        validate=validate.Range(min=1024),
    )
    max_body: int = setting(
        "BOOMERANG_MAX_BODY",
        ma.Integer,
        JOB_LIMIT,
        "Largest job, alone or as a line of a batch, at least 1024. Four base64 images of 10 MB take 54 MiB.",
        validate=validate.Range(min=1024),
    )
    session_secret: str | None = setting(
        "BOOMERANG_SESSION_SECRET",
        ma.String,
        None,
        "Signs the cookies of people who [log in to the pages](guides/manage-keys.md#the-pages), at least "
        f"{MIN_SECRET} characters. Unset: each process makes one, so that a restart ends its sessions. Set it, the "
        "same for all, where several webhook processes share an address.",
        secret=True,
        validate=hard_to_guess,
    )
    metrics_token: str | None = setting(
        "BOOMERANG_METRICS_TOKEN",
        ma.String,
        None,
        f"What Prometheus sends as bearer token for `/metrics`, at least {MIN_SECRET} characters; `/readyz` shows "
        "details with it, too. Unset: only an administrator's key reads them.",
        secret=True,
        validate=hard_to_guess,
    )
    trace_url: str | None = setting(
        "BOOMERANG_TRACE_URL",
        ma.String,
        None,
        "The address of a job's trace, for a link on [its page](guides/read-logs.md#from-a-job-to-its-logs): "
        "`https://traces.example/search?q={id}`. Placeholders: `{id}`, the service's id, which the logs have; "
        "`{external_id}`, that of the present attempt; `{task_id}`, the provider's. Everybody who may see the job sees "
        "the link.",
        validate=check_template,
    )
    logs_url: str | None = setting(
        "BOOMERANG_LOGS_URL",
        ma.String,
        None,
        "The same for its logs.",
        validate=check_template,
    )
    rate_limit: str = setting(
        "BOOMERANG_RATE_LIMIT",
        ma.String,
        RATE_LIMIT,
        "How many requests each key may send to each webhook process: `100/second`, several with `;` between them "
        "(all apply), or `off`. Beyond it the response is 429 with a `Retry-After`. A batch is one request, however "
        "long. Callbacks do not count. Raise it for producers that send single jobs faster.",
        validate=_rates,
    )
    result_redirect: bool = setting(
        "BOOMERANG_RESULT_REDIRECT",
        ma.Boolean,
        default=True,
        meaning="Whether producers fetch saved results from a bucket directly, by presigned addresses of ten minutes. "
        "`off`: the webhook passes them on, for a bucket that producers cannot reach. A folder is always passed on.",
    )
    body_memory: int = setting(
        "BOOMERANG_BODY_MEMORY",
        ma.Integer,
        BODY_MEMORY,
        "Bytes of jobs, images and long lines of batches that each webhook process holds at once, at least "
        "`BOOMERANG_MAX_BODY`. Producers share them fairly; beyond its share the response is 503 with a `Retry-After`. "
        "Handling them takes up to eight times as much memory.",
        validate=validate.Range(min=1024),
    )
    max_connections: int = setting(
        "BOOMERANG_MAX_CONNECTIONS",
        ma.Integer,
        CONNECTION_LIMIT,
        "Most open connections of one address (of one /64 for IPv6) to each webhook process. One more closes the one "
        "that has waited longest for a request; if all are in use, the response is 503 with a `Retry-After`, except to "
        "callbacks and health checks. Addresses in `BOOMERANG_TRUSTED_PROXIES` have no limit. 0 is no limit: set it "
        "where all clients share an address that you cannot name, such as behind a rootless container engine.",
        validate=validate.Range(min=0),
    )
    max_unfinished: int = setting(
        "BOOMERANG_MAX_UNFINISHED",
        ma.Integer,
        0,
        "Most unfinished jobs, over all producers. Beyond it the webhook answers "
        "[429](guides/send-jobs.md#when-it-is-full) to new jobs. 0 is no limit. Jobs from Celery count, but are not "
        "refused.",
        validate=validate.Range(min=0),
    )
    max_memory: float = setting(
        "BOOMERANG_MAX_MEMORY",
        ma.Float,
        MEMORY_SHARE,
        "The same for the memory of the jobs' Redis: up to 1 it is a share of `maxmemory` (no limit where Redis has "
        f"none), from {MIN_MEMORY} on bytes. 0 is no limit.",
        validate=_share_or_bytes,
    )

    kept_room: float = setting(
        "BOOMERANG_KEPT_ROOM",
        ma.Float,
        KEPT_ROOM,
        "The share of `BOOMERANG_MAX_UNFINISHED` and of `BOOMERANG_MAX_MEMORY`, from 0 to 1, that is kept for the keys "
        "of producers, divided by their weights. A key can always use its part; the rest is for the keys that come "
        "first. A single key can use all.",
        validate=validate.Range(0, 1),
    )

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the environment."""
        everything = frozenset({Scope.ADMIN})
        return (*map(Key.parse, self.api_keys), *(Key.parse(text, everything) for text in self.admin_keys))

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield the problems of the shared settings, of callback secrets, of sizes, and of secrets in both lists."""
        yield from super().problems(given)
        if given.get("public_url") and given.get("callback_secrets") == ():
            yield "callback_secrets", NO_CALLBACK_SECRETS
        memory, largest = given.get("body_memory", BODY_MEMORY), given.get("max_body", JOB_LIMIT)
        if memory < largest:
            yield "body_memory", f"is {memory}, less than BOOMERANG_MAX_BODY ({largest}): such a body would never fit"
        digests = {Key.parse(text).digest for text in given.get("api_keys", ())}
        if any(Key.parse(text).digest in digests for text in given.get("admin_keys", ())):
            yield "admin_keys", "has a secret that is also in BOOMERANG_API_KEYS; every key needs its own"
