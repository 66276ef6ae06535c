"""Settings that every process of the service shares, read from the environment and nowhere else.

A process adds its own by inheriting both the schema and the dataclass; one load then reports all bad variables at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Self
from urllib.parse import urlsplit

from marshmallow import EXCLUDE, Schema, ValidationError, validate, validates_schema
from marshmallow import fields as ma

from jobs.errors import SettingsInvalid
from jobs.lanes import LaneSettings, LanesField
from jobs.logs import LogFormat
from jobs.owners import KeyLimits, KeyLimitsField
from jobs.sentinel import SCHEMES as SENTINEL_SCHEMES
from jobs.sentinel import AddressInvalid, Watched, behind_sentinel


class Ambiguous(StrEnum):
    """What to do with a submission whose outcome can never be looked up."""

    HOLD = "hold"  #: leave it in doubt for a person: never pay twice
    RESEND = "resend"  #: send it again: never lose one, perhaps pay twice


class CallbackMode(StrEnum):
    """How far a callback's word is taken."""

    TRUST = "trust"  #: a final callback that carries result and usage settles the job
    CONFIRM = "confirm"  #: every callback only triggers a poll; the status endpoint settles


class CommaSeparated(ma.Field[list[str]]):
    """`a, b,,c` → `["a", "b", "c"]`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        return [part.strip() for part in str(value).split(",") if part.strip()]


def url_of(*schemes: str) -> Any:
    """A validator: an absolute URL with one of these schemes and a host (a `unix` one has a path instead)."""

    def check(value: str) -> None:
        if behind_sentinel(value) and set(SENTINEL_SCHEMES) <= set(schemes):
            try:
                Watched.from_url(value)
            except AddressInvalid as error:
                raise ValidationError(str(error)) from None
            return
        try:
            parts = urlsplit(value)
            # A socket has a path where others have a host; "rpc://" means the broker and needs neither.
            place = {"unix": parts.path, "redis+socket": parts.path, "rpc": "rpc"}.get(parts.scheme, parts.hostname)
        except ValueError:
            place = None
        if not place or parts.scheme not in schemes:
            # Not the value itself: it may hold a password.
            raise ValidationError(f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")

    return check


REDIS_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)
#: kombu's schemes of the brokers that the project is tested with, and our own where Sentinel watches them.
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "amqp", "amqps")
RESULT_SCHEMES = ("redis", "rediss", "redis+socket", *SENTINEL_SCHEMES, "rpc")
LOCAL_REDIS = "redis://127.0.0.1:6379/0"
A_DAY = 24 * 3600.0
A_WEEK = 7 * A_DAY
#: BOOMERANG_IMAGE_STORE: the Redis of the jobs.
IN_REDIS = "redis"


def _image_store(value: str) -> None:
    if value == IN_REDIS:
        return
    if "://" not in value:
        raise ValidationError(f'must be "{IN_REDIS}" or a URL such as file:///srv/images or s3://bucket/images')
    if find_spec("fsspec") is None:
        raise ValidationError("wants the package fsspec, which is not installed: pip install fsspec")
    try:
        import_module("fsspec").get_filesystem_class(value.partition("://")[0])
    except (ValueError, ImportError) as error:
        raise ValidationError(f"cannot be used: {error}") from None


class Environment(Schema):
    """The variables, as text. An empty one counts as unset: that is how compose files pass what was not given."""

    class Meta:
        unknown = EXCLUDE

    redis_url = ma.String(data_key="BOOMERANG_REDIS_URL", load_default=LOCAL_REDIS, validate=url_of(*REDIS_SCHEMES))
    broker_url = ma.String(data_key="BOOMERANG_BROKER_URL", load_default=None, validate=url_of(*BROKER_SCHEMES))
    result_url = ma.String(data_key="BOOMERANG_RESULT_URL", load_default=None, validate=url_of(*RESULT_SCHEMES))
    replicas = ma.Integer(data_key="BOOMERANG_REPLICAS", load_default=0, validate=validate.Range(min=0))
    public_url = ma.String(data_key="BOOMERANG_PUBLIC_URL", load_default=None, validate=url_of("http", "https"))
    callback_secrets = CommaSeparated(data_key="BOOMERANG_CALLBACK_SECRETS", load_default=list)
    max_in_flight = ma.Integer(data_key="BOOMERANG_MAX_IN_FLIGHT", load_default=0, validate=validate.Range(min=0))
    submit_rate = ma.Float(data_key="BOOMERANG_SUBMIT_RATE", load_default=0.0, validate=validate.Range(min=0))
    learn_limit = ma.Boolean(data_key="BOOMERANG_LEARN_LIMIT", load_default=False)
    named_lanes = LanesField(data_key="BOOMERANG_LANES", load_default=())
    key_limits = KeyLimitsField(data_key="BOOMERANG_KEY_LIMITS", load_default=dict)
    poll_first = ma.Float(data_key="BOOMERANG_POLL_FIRST", load_default=None, validate=validate.Range(min=0.05))
    poll_max = ma.Float(data_key="BOOMERANG_POLL_MAX", load_default=30.0, validate=validate.Range(min=0.05))
    deadline = ma.Float(data_key="BOOMERANG_DEADLINE", load_default=7200.0, validate=validate.Range(min=1))
    submit_lease = ma.Float(data_key="BOOMERANG_SUBMIT_LEASE", load_default=60.0, validate=validate.Range(min=1))
    lookup_grace = ma.Float(data_key="BOOMERANG_LOOKUP_GRACE", load_default=10.0, validate=validate.Range(min=0))
    ambiguous = ma.Enum(Ambiguous, by_value=True, data_key="BOOMERANG_AMBIGUOUS", load_default=Ambiguous.HOLD)
    max_attempts = ma.Integer(data_key="BOOMERANG_MAX_ATTEMPTS", load_default=3, validate=validate.Range(min=1))
    callback_mode = ma.Enum(
        CallbackMode, by_value=True, data_key="BOOMERANG_CALLBACK_MODE", load_default=CallbackMode.TRUST
    )
    recovery = ma.Boolean(data_key="BOOMERANG_RECOVERY", load_default=True)
    tolerated_loss = ma.Float(data_key="BOOMERANG_TOLERATED_LOSS", load_default=0.0, validate=validate.Range(min=0))
    retention = ma.Float(data_key="BOOMERANG_RETENTION", load_default=A_WEEK, validate=validate.Range(min=60))
    image_store = ma.String(data_key="BOOMERANG_IMAGE_STORE", load_default=IN_REDIS, validate=_image_store)
    image_retention = ma.Float(
        data_key="BOOMERANG_IMAGE_RETENTION", load_default=A_DAY, validate=validate.Range(min=60)
    )
    allow_private_hosts = ma.Boolean(data_key="BOOMERANG_ALLOW_PRIVATE_HOSTS", load_default=False)

    log_format = ma.Enum(LogFormat, by_value=True, data_key="BOOMERANG_LOG_FORMAT", load_default=LogFormat.TEXT)

    @validates_schema(skip_on_field_errors=False)
    def _check_callbacks(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("public_url") and not data.get("callback_secrets"):
            raise ValidationError(
                "must be set where BOOMERANG_PUBLIC_URL is: callbacks are told from forgeries by it", "callback_secrets"
            )
        if any(len(secret) < MIN_SECRET for secret in data.get("callback_secrets", ())):
            raise ValidationError(f"each must be at least {MIN_SECRET} characters long", "callback_secrets")

    @validates_schema(skip_on_field_errors=False)
    def _check_limits(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("named_lanes") and any(map(data.get, ("max_in_flight", "submit_rate", "learn_limit"))):
            raise ValidationError(
                "has limits for each lane; unset BOOMERANG_MAX_IN_FLIGHT, BOOMERANG_SUBMIT_RATE and "
                "BOOMERANG_LEARN_LIMIT",
                "named_lanes",
            )


MIN_SECRET = 16
#: The first poll, in seconds, where callbacks come and where they do not (provider-contract, "Polling advice").
POLL_FIRST_WITH_CALLBACKS = 30.0
POLL_FIRST_WITHOUT = 5.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every process needs to know. Times in seconds; 0 means "no limit" for slots and rate."""

    redis_url: str = field(default=LOCAL_REDIS, repr=False)
    broker_url: str = field(default=LOCAL_REDIS, repr=False)
    result_url: str = field(default=LOCAL_REDIS, repr=False)
    replicas: int = 0
    public_url: str | None = None
    callback_secrets: tuple[str, ...] = field(default=(), repr=False)
    max_in_flight: int = 0
    submit_rate: float = 0.0
    learn_limit: bool = False
    named_lanes: tuple[LaneSettings, ...] = ()
    key_limits: Mapping[str, KeyLimits] = field(default_factory=dict)
    poll_first: float = POLL_FIRST_WITHOUT
    poll_max: float = 30.0
    deadline: float = 7200.0
    submit_lease: float = 60.0
    lookup_grace: float = 10.0
    ambiguous: Ambiguous = Ambiguous.HOLD
    max_attempts: int = 3
    callback_mode: CallbackMode = CallbackMode.TRUST
    recovery: bool = True
    tolerated_loss: float = 0.0
    retention: float = A_WEEK
    image_store: str = field(default=IN_REDIS, repr=False)
    image_retention: float = A_DAY
    allow_private_hosts: bool = False
    log_format: LogFormat = LogFormat.TEXT

    @property
    def lanes(self) -> tuple[LaneSettings, ...]:
        """The provider's accounts; one with the limits above where none is named."""
        alone = LaneSettings(
            max_in_flight=self.max_in_flight, submit_rate=self.submit_rate, learn_limit=self.learn_limit
        )
        return self.named_lanes or (alone,)

    @classmethod
    def environment(cls) -> Schema:
        """The schema that reads this class's variables; a process with more of them overrides it."""
        return Environment()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; raises `SettingsInvalid` naming every bad variable."""
        schema = cls.environment()
        try:
            values: dict[str, Any] = schema.load({name: value for name, value in env.items() if value.strip()})
        except ValidationError as error:
            raise SettingsInvalid(_problems(schema, error)) from None
        values["broker_url"] = values["broker_url"] or for_celery(values["redis_url"])
        values["result_url"] = values["result_url"] or for_celery(values["redis_url"])
        if values["poll_first"] is None:
            values["poll_first"] = POLL_FIRST_WITH_CALLBACKS if values["public_url"] else POLL_FIRST_WITHOUT
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in known
        }
        return cls(**given)


def for_celery(redis_url: str) -> str:
    """The same Redis as kombu writes it: redis-py says `unix://`, kombu `redis+socket://`."""
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)


def _problems(schema: Schema, error: ValidationError) -> list[str]:
    messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    variables = {name: each.data_key or name for name, each in schema.fields.items()}
    return [
        f"{variables.get(name, name)}: {' '.join(map(str, said)) if isinstance(said, list) else said}"
        for name, said in sorted(messages.items())
    ]
