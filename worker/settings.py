"""The worker's own settings, beside those that every process shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from marshmallow import Schema, ValidationError, validate, validates_schema
from marshmallow import fields as ma

from jobs import settings as shared
from jobs.errors import SettingsInvalid
from jobs.lanes import PROVIDER_KEY, LaneSettings
from schemas.signatures import check_secrets
from worker.health import HEALTH_FILE

PROVIDER = "https://cloud.vtrix.ai"
NOT_HEADER_SAFE = "must be printable ASCII without spaces"
STATUS_PATH = "/model/v1/generation/task/{id}"


#: Bytes: the largest job there can be, ten images of 10 MB as base64, and some more.
IMAGE_MEMORY = 256 * 1024 * 1024


class Envelope(StrEnum):
    """How a request is wrapped for the provider."""

    WRAPPED = "wrapped"  #: {"model": …, "input": [{"params": {…}}]}
    FLAT = "flat"  #: {"model": …, "prompt": …}


class Switch(StrEnum):
    """A setting that can only be on or off."""

    ON = "on"
    OFF = "off"


class QueueType(StrEnum):
    """How RabbitMQ keeps the door's queue: it must be what producers declare it to be."""

    CLASSIC = "classic"
    QUORUM = "quorum"


def _path_with_id(value: str) -> None:
    if value != Switch.OFF and (not value.startswith("/") or value.count("{id}") != 1):
        raise ValidationError("must be a path with {id} in it once, such as " + STATUS_PATH)


def _is_header_safe(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _header_safe(value: str) -> None:
    if not _is_header_safe(value):
        # Not the value itself: it is the key.
        raise ValidationError(NOT_HEADER_SAFE)


class Environment(shared.Environment):
    """The worker's variables."""

    provider_url = ma.String(
        data_key="BOOMERANG_PROVIDER_URL", load_default=PROVIDER, validate=shared.url_of("http", "https")
    )
    provider_key = ma.String(data_key=PROVIDER_KEY, load_default=None, validate=_header_safe)
    lookup_path = ma.String(data_key="BOOMERANG_LOOKUP_PATH", load_default=STATUS_PATH, validate=_path_with_id)
    envelope = ma.Enum(Envelope, by_value=True, data_key="BOOMERANG_ENVELOPE", load_default=Envelope.WRAPPED)
    image_key = ma.String(data_key="BOOMERANG_IMAGE_KEY", load_default="image", validate=validate.Length(1, 64))
    connect_timeout = ma.Float(data_key="BOOMERANG_CONNECT_TIMEOUT", load_default=3.05, validate=validate.Range(0.05))
    read_timeout = ma.Float(data_key="BOOMERANG_READ_TIMEOUT", load_default=20.0, validate=validate.Range(0.05))
    concurrency = ma.Integer(data_key="BOOMERANG_CONCURRENCY", load_default=32, validate=validate.Range(1, 1024))
    group = ma.Integer(data_key="BOOMERANG_SUBMIT_GROUP", load_default=20, validate=validate.Range(1, 500))
    image_memory = ma.Integer(
        data_key="BOOMERANG_IMAGE_MEMORY", load_default=IMAGE_MEMORY, validate=validate.Range(min=1)
    )
    generate_queue = ma.String(data_key="BOOMERANG_GENERATE_QUEUE", load_default="celery", validate=validate.Length(1))
    generate_queue_type = ma.Enum(
        QueueType, by_value=True, data_key="BOOMERANG_GENERATE_QUEUE_TYPE", load_default=QueueType.CLASSIC
    )
    notify_secrets = shared.CommaSeparated(
        data_key="BOOMERANG_NOTIFY_SECRETS", load_default=list, validate=check_secrets
    )
    events = ma.Enum(Switch, by_value=True, data_key="BOOMERANG_EVENTS", load_default=Switch.ON)
    remote_control = ma.Enum(Switch, by_value=True, data_key="BOOMERANG_REMOTE_CONTROL", load_default=Switch.ON)
    health_file = ma.String(data_key=HEALTH_FILE, load_default=None)

    @validates_schema
    def _check_lease(self, data: dict[str, Any], **_: Any) -> None:
        longest = data["connect_timeout"] + data["read_timeout"]
        if data["submit_lease"] < longest + LEASE_MARGIN:
            raise ValidationError(
                f"must be at least {LEASE_MARGIN:g} s longer than BOOMERANG_CONNECT_TIMEOUT and BOOMERANG_READ_TIMEOUT "
                f"together ({longest:g} s): a submission must be over when its lease is",
                "submit_lease",
            )


#: Seconds that must be left of a lease when the longest possible POST has ended.
LEASE_MARGIN = 5.0


@dataclass(frozen=True, kw_only=True)
class Settings(shared.Settings):
    """What a worker needs to know. `lookup_path` is None where the provider offers no look-up by external id.

    `provider_key` is None in the processes that never call the provider: beat and Flower load the worker's app too.
    `provider_keys`: variable -> key, of lanes that are not the default one.
    """

    provider_url: str = PROVIDER
    provider_key: str | None = field(default=None, repr=False)
    provider_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    lookup_path: str | None = STATUS_PATH
    envelope: Envelope = Envelope.WRAPPED
    image_key: str = "image"
    connect_timeout: float = 3.05
    read_timeout: float = 20.0
    concurrency: int = 32
    group: int = 20
    image_memory: int = IMAGE_MEMORY
    generate_queue: str = "celery"
    generate_queue_type: QueueType = QueueType.CLASSIC
    notify_secrets: tuple[str, ...] = field(default=(), repr=False)
    events: Switch = Switch.ON
    remote_control: Switch = Switch.ON
    health_file: str | None = None

    def __post_init__(self) -> None:
        """Give `off` its meaning."""
        if self.lookup_path == Switch.OFF:
            object.__setattr__(self, "lookup_path", None)

    def key_of(self, lane: LaneSettings) -> str | None:
        """The provider's key of that lane."""
        return self.provider_key if lane.key_variable == PROVIDER_KEY else self.provider_keys.get(lane.key_variable)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """As all settings are read; lanes' keys stand in variables whose names only the lanes tell."""
        settings = super().from_env(env)
        names = {lane.key_variable for lane in settings.lanes} - {PROVIDER_KEY}
        keys = {name: env[name] for name in names if env.get(name, "").strip()}
        if bad := sorted(name for name, key in keys.items() if not _is_header_safe(key)):
            raise SettingsInvalid([f"{name}: {NOT_HEADER_SAFE}" for name in bad])
        return replace(settings, provider_keys=keys)

    @classmethod
    def environment(cls) -> Schema:
        """The schema of these variables."""
        return Environment()
