"""The worker's settings, in addition to those that all processes share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from jobs.connections.urls import url_of
from jobs.errors import SettingsInvalid
from jobs.lanes import PROVIDER_KEY, LaneSettings
from jobs.setting import setting
from jobs.setting_readers import CommaSeparated, QueuePatterns, certificate_file
from schemas.signatures import check_secrets
from worker.health import HEALTH_FILE
from worker.notices.settings import NoticeSettings

PROVIDER = "https://cloud.vtrix.ai"
NOT_HEADER_SAFE = "must be printable ASCII without spaces"
STATUS_PATH = "/model/v1/generation/task/{id}"


#: Seconds: five days.
DISABLE_AFTER = 5 * 24 * 3600.0
#: Bytes of the largest possible job, ten images of 10 MB as base64, and some more.
IMAGE_MEMORY = 256 * 1024 * 1024


class Envelope(StrEnum):
    """How a request is wrapped for the provider."""

    WRAPPED = "wrapped"  #: {"model": …, "input": [{"params": {…}}]}
    FLAT = "flat"  #: {"model": …, "prompt": …}


class Switch(StrEnum):
    """A setting that is on or off."""

    ON = "on"
    OFF = "off"


class QueueType(StrEnum):
    """The type of the queue of boomerang.generate in RabbitMQ. Producers must declare the same."""

    CLASSIC = "classic"
    QUORUM = "quorum"


def _path_with_id(value: str) -> None:
    if value != Switch.OFF and (not value.startswith("/") or value.count("{id}") != 1):
        raise ValidationError("must be a path with {id} in it once, such as " + STATUS_PATH)


def _is_header_safe(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _header_safe(value: str) -> None:
    if not _is_header_safe(value):
        # The message does not contain the value, which is the key.
        raise ValidationError(NOT_HEADER_SAFE)


#: Seconds that a lease must last longer than the longest possible POST.
LEASE_MARGIN = 5.0


@dataclass(frozen=True, kw_only=True)
class Settings(NoticeSettings):
    """The settings of a worker. `lookup_path` is None if the provider has no look-up by external id.

    `provider_key` is None in beat and Flower, which load the worker's app but never call the provider.
    `provider_keys`: variable → key, of all lanes but the default one.
    """

    provider_url: str = setting(
        "BOOMERANG_PROVIDER_URL", ma.String, PROVIDER, "The generation API.", validate=url_of("http", "https")
    )
    provider_ca: str | None = setting(
        "BOOMERANG_PROVIDER_CA",
        ma.String,
        None,
        "A PEM file of the certificate authorities that may sign the provider's certificate, for a network whose proxy "
        "or gateway has a certificate of its own. It replaces the public authorities. `REQUESTS_CA_BUNDLE` has no "
        "effect. Python 3.13 and later ask for certificates by RFC 5280: an authority has the key usage `keyCertSign`, "
        "and the provider's certificate has an authority key identifier.",
        validate=certificate_file,
    )
    provider_proxy: str | None = setting(
        "BOOMERANG_PROVIDER_PROXY",
        ma.String,
        None,
        "The proxy for all calls of the provider: `http://proxy:3128`, with `user:password@` if it wants them. "
        "Notifications to producers do not go through it. `HTTPS_PROXY` and its like have no effect.",
        secret=True,
        validate=url_of("http", "https"),
    )
    provider_key: str | None = setting(
        PROVIDER_KEY,
        ma.String,
        None,
        "The API's key. A worker without it ends at once. Give it to no other process.",
        secret=True,
        validate=_header_safe,
    )
    provider_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    lookup_path: str | None = setting(
        "BOOMERANG_LOOKUP_PATH",
        ma.String,
        STATUS_PATH,
        "Path of a look-up by external id, with `{id}` in it once; `off` if the provider has no look-up.",
        validate=_path_with_id,
    )
    envelope: Envelope = setting(
        "BOOMERANG_ENVELOPE",
        ma.Enum,
        Envelope.WRAPPED,
        '`wrapped`: `{"model", "input": [{"params"}]}`. `flat`: the parameters beside `model`.',
        enum=Envelope,
        by_value=True,
    )
    image_key: str = setting(
        "BOOMERANG_IMAGE_KEY",
        ma.String,
        "image",
        "The key that the provider expects in an entry of `image_list`. Producers always write `image`.",
        validate=validate.Length(1, 64),
    )
    connect_timeout: float = setting(
        "BOOMERANG_CONNECT_TIMEOUT",
        ma.Float,
        3.05,
        "Time to connect to the provider, at least 0.05.",
        validate=validate.Range(0.05),
    )
    read_timeout: float = setting(
        "BOOMERANG_READ_TIMEOUT",
        ma.Float,
        20.0,
        "Together with the time to connect it limits a whole call, however slowly the response arrives. At least "
        "0.05. With a longer time, fewer jobs are in doubt if the provider answers late.",
        validate=validate.Range(0.05),
    )
    concurrency: int = setting(
        "BOOMERANG_CONCURRENCY",
        ma.Integer,
        32,
        "Threads of a worker process for submissions, and as many each for polls and for Celery results; 1 to 1024.",
        validate=validate.Range(1, 1024),
    )
    max_notifying: int = setting(
        "BOOMERANG_MAX_NOTIFYING",
        ma.Integer,
        64,
        "Notifications of producers under way at once, over all workers; 1 to 512. They have threads of their own. "
        "[A producer](explanation/notifications.md) that is alone uses at most half.",
        validate=validate.Range(1, 512),
    )
    group: int = setting(
        "BOOMERANG_SUBMIT_GROUP",
        ma.Integer,
        20,
        "Jobs in one message to a worker, 1 to 500.",
        validate=validate.Range(1, 500),
    )
    image_memory: int = setting(
        "BOOMERANG_IMAGE_MEMORY",
        ma.Integer,
        IMAGE_MEMORY,
        "Most bytes of images, as base64, that a worker process keeps in memory. It fetches an image that many jobs "
        "share once. Submissions whose images do not fit wait for others, or are sent alone.",
        validate=validate.Range(min=1),
    )
    generate_queue: str = setting(
        "BOOMERANG_GENERATE_QUEUE",
        ma.String,
        "celery",
        "The queue of `boomerang.generate`, the entry point for Celery producers. Change it if others use the same "
        "broker, see [use Celery](guides/celery.md#the-queue).",
        validate=validate.Length(1),
    )
    generate_queue_type: QueueType = setting(
        "BOOMERANG_GENERATE_QUEUE_TYPE",
        ma.Enum,
        QueueType.CLASSIC,
        "With RabbitMQ: `classic` or `quorum`, as the producers declare that queue, see [use "
        "Celery](guides/celery.md#rabbitmq).",
        enum=QueueType,
        by_value=True,
    )
    producer_queues: tuple[str, ...] = setting(
        "BOOMERANG_PRODUCER_QUEUES",
        QueuePatterns,
        (),
        "What the names of producers' own queues begin with, separated by spaces: the [users of the "
        "broker](guides/set-up-redis.md#who-may-do-what) `producer` and `worker` may use these queues. Unset: `shop`.",
    )
    link_queues: tuple[str, ...] = setting(
        "BOOMERANG_LINK_QUEUES",
        QueuePatterns,
        (),
        "The queues and exchanges to which tasks that follow a job may be sent, such as `shop* orders.?`, separated by "
        "spaces: `*` is any text, `?` one character. Other destinations are refused [before anything is "
        "paid](guides/celery.md#where-follow-up-tasks-go). Unset: all that begins as in `BOOMERANG_PRODUCER_QUEUES`.",
    )
    notify_secrets: tuple[str, ...] = setting(
        "BOOMERANG_NOTIFY_SECRETS",
        CommaSeparated,
        (),
        "Comma-separated, each `whsec_` and 24 to 64 bytes of base64. The worker "
        "[signs](explanation/notifications.md) notifications with each of them, by Standard Webhooks, so "
        "producers can change theirs one after another. Unset: notifications are not signed.",
        secret=True,
        validate=check_secrets,
    )
    disable_receiver_after: float = setting(
        "BOOMERANG_DISABLE_RECEIVER_AFTER",
        ma.Float,
        DISABLE_AFTER,
        "Seconds. A receiver of notifications that has accepted none for so long, and fails, [is "
        "disabled](explanation/notifications.md#places-and-circuit-breakers): what is to be sent there is given up at "
        "once. 0: never.",
        validate=validate.Range(min=0),
    )
    remote_control: Switch = setting(
        "BOOMERANG_REMOTE_CONTROL",
        ma.Enum,
        Switch.ON,
        "`on` or `off`: whether workers accept Celery's [remote "
        "control](reference/chosen-settings.md#flower-and-remote-control).",
        enum=Switch,
        by_value=True,
    )
    events: Switch = setting(
        "BOOMERANG_EVENTS",
        ma.Enum,
        Switch.ON,
        "`on` or `off`: events for Flower. Switch them off if you do not use Flower and the rate is very high.",
        enum=Switch,
        by_value=True,
    )
    health_file: str | None = setting(
        HEALTH_FILE,
        ma.String,
        None,
        "A file to which a worker writes every two seconds while it is healthy, for [`python -m "
        "worker.health`](guides/check-health.md#health). Each worker of a machine needs its own file. The compose "
        "file sets it. Unset: no file is written.",
    )

    def __post_init__(self) -> None:
        """Convert a `lookup_path` of `off` to None."""
        super().__post_init__()
        if self.lookup_path == Switch.OFF:
            object.__setattr__(self, "lookup_path", None)

    @property
    def link_patterns(self) -> tuple[str, ...]:
        """Return the patterns of the queues and exchanges to which tasks that follow a job may be sent."""
        return self.link_queues or tuple(f"{each}*" for each in self.producer_queues or ("shop",))

    def key_of(self, lane: LaneSettings) -> str | None:
        """Return the provider's key for the lane."""
        return self.provider_key if lane.key_variable == PROVIDER_KEY else self.provider_keys.get(lane.key_variable)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings, and the keys of the lanes from the variables that BOOMERANG_LANES names."""
        settings = super().from_env(env)
        names = {lane.key_variable for lane in settings.lanes} - {PROVIDER_KEY}
        keys = {name: env[name] for name in names if env.get(name, "").strip()}
        if bad := sorted(name for name, key in keys.items() if not _is_header_safe(key)):
            raise SettingsInvalid([f"{name}: {NOT_HEADER_SAFE}" for name in bad])
        return replace(settings, provider_keys=keys)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield the shared settings' problems, and whether the lease is too short for the longest call."""
        yield from super().problems(given)
        if not {"connect_timeout", "read_timeout", "submit_lease"} <= given.keys():
            return
        longest = given["connect_timeout"] + given["read_timeout"]
        if given["submit_lease"] < longest + LEASE_MARGIN:
            message = (
                f"must be at least {LEASE_MARGIN:g} s longer than BOOMERANG_CONNECT_TIMEOUT and BOOMERANG_READ_TIMEOUT "
                f"together ({longest:g} s): a submission must be over when its lease is"
            )
            yield "submit_lease", message
