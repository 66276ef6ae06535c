"""Settings that all processes of the service share. They come from the environment only.

A process adds settings by inheriting the dataclass, so that one load reports all invalid variables at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from jobs.audit_trail import ENTRIES_KEPT
from jobs.choices import Ambiguous as Ambiguous
from jobs.choices import CallbackMode as CallbackMode
from jobs.choices import UnknownParameters
from jobs.errors import SettingsInvalid
from jobs.key_limits import KeyLimits, KeyLimitsField
from jobs.lanes import LaneSettings, LanesField
from jobs.link_settings import LinkSettings
from jobs.list_prices import ListPrices, ListPricesField
from jobs.logs import LOG_FORMAT, LogFormat
from jobs.result_settings import A_DAY
from jobs.setting import described, read, setting
from jobs.setting_readers import IN_REDIS, Ports, image_store

A_WEEK = 7 * A_DAY
NO_CALLBACK_SECRETS = "must be set where BOOMERANG_PUBLIC_URL is: the webhook recognizes forged callbacks by it"
#: The first poll, in seconds, where callbacks come and where they do not (provider-contract, "Polling advice").
POLL_FIRST_WITH_CALLBACKS = 30.0
POLL_FIRST_WITHOUT = 5.0
_NOT_NEGATIVE = validate.Range(min=0)
_A_POLL = validate.Range(min=0.05)
_AT_LEAST_ONE = validate.Range(min=1)
_A_MINUTE = validate.Range(min=60)


@dataclass(frozen=True, kw_only=True)
class Settings(LinkSettings):
    """The settings of every process. Times in seconds; 0 means "no limit" for slots and rate."""

    max_in_flight: int = setting(
        "BOOMERANG_MAX_IN_FLIGHT",
        ma.Integer,
        0,
        "How many images may be at the provider at once (the sum of `n`). 0 is no limit. Set it to the account's "
        "concurrency limit: without it, only the provider's 429 answers slow the service down.",
        validate=_NOT_NEGATIVE,
    )
    submit_rate: float = setting(
        "BOOMERANG_SUBMIT_RATE",
        ma.Float,
        0.0,
        "Submissions per second over all workers. 0 is no limit. A burst may use what one second has saved up.",
        validate=_NOT_NEGATIVE,
    )
    learn_limit: bool = setting(
        "BOOMERANG_LEARN_LIMIT",
        ma.Boolean,
        default=False,
        meaning="`on`: learn from the provider's refusals how many images may be there at once "
        "([how](explanation/admission.md#the-learned-limit)), never above `BOOMERANG_MAX_IN_FLIGHT`. Switch it on if "
        "the account's limit is unknown or changes.",
    )
    named_lanes: tuple[LaneSettings, ...] = setting(
        "BOOMERANG_LANES",
        LanesField,
        (),
        "Several provider accounts, as a JSON list: see [lanes](#lanes). Unset: one lane named `default`, with the "
        "limits above and `BOOMERANG_PROVIDER_KEY`.",
    )
    key_limits: Mapping[str, KeyLimits] = setting(
        "BOOMERANG_KEY_LIMITS",
        KeyLimitsField,
        None,
        'Limits of producers\' keys, as a JSON object by the key\'s name: `{"shop": {"weight": 3, '
        '"max_cost_per_day": "50"}}`. `weight` (1 to 100, default 1) is the key\'s share of admission beside other '
        "waiting keys. `priority` (`high`, `normal`, `low`; default `normal`): while jobs of a higher key wait, none "
        "of a lower key is [admitted](explanation/admission.md#queues-priorities-fairness). `max_cost_per_day` is in "
        "USD, by days of UTC: a job that would exceed it "
        "[waits](guides/limit-spending.md#what-it-may-cost). `max_unfinished` (jobs) and `max_stored` (bytes of its "
        "jobs and images) limit what the key holds: beyond them it gets [429](guides/send-jobs.md#when-it-is-full). "
        '`callback_hosts`, such as `["hooks.shop.example", "*.eu.shop.example"]`, are the only hosts that [its '
        'notifications](explanation/notifications.md#where-a-producer-may-be-notified) may go to; `["*"]`: any.',
    )
    list_prices: ListPrices = setting(
        "BOOMERANG_PRICES",
        ListPricesField,
        None,
        "List prices, as a JSON object: USD for one image by model, or by resolution (`*`: all others): "
        '`{"kirin_image_omni": "0.04", "kirin_v2_1_reference2image": {"2k": "0.09", "*": "0.05"}}`. They are used in '
        "[quotes](guides/know-the-price.md) and expected costs until the costs of such jobs are learned. They neither "
        "reserve nor limit money.",
    )
    poll_first: float = setting(
        "BOOMERANG_POLL_FIRST",
        ma.Float,
        None,
        f"Time before the first poll, at least 0.05. Unset: {POLL_FIRST_WITH_CALLBACKS:g} if `BOOMERANG_PUBLIC_URL` "
        f"is set, else {POLL_FIRST_WITHOUT:g}. Use about twice the usual generation time if callbacks work.",
        validate=_A_POLL,
    )
    poll_max: float = setting(
        "BOOMERANG_POLL_MAX", ma.Float, 30.0, "Longest wait between two polls, at least 0.05.", validate=_A_POLL
    )
    deadline: float = setting(
        "BOOMERANG_DEADLINE",
        ma.Float,
        7200.0,
        "When the provider has had a job for this long, the job expires after a last poll. A late result is accepted "
        "for as long again. At least 1. Raise it for slow models: an expired job may still cost money.",
        validate=_AT_LEAST_ONE,
    )
    submit_lease: float = setting(
        "BOOMERANG_SUBMIT_LEASE",
        ma.Float,
        60.0,
        "How long a worker may hold a job that it submits: at least 5 more than `BOOMERANG_CONNECT_TIMEOUT` and "
        "`BOOMERANG_READ_TIMEOUT` together. A longer lease delays the look-up of a killed worker's jobs.",
        validate=_AT_LEAST_ONE,
    )
    lookup_grace: float = setting(
        "BOOMERANG_LOOKUP_GRACE",
        ma.Float,
        10.0,
        "How long look-ups must find nothing before a task in doubt counts as not created. **Must be longer than the "
        "provider may take to show a task that it has accepted**: with a shorter time a job can be sent, and paid "
        "for, twice.",
        validate=_NOT_NEGATIVE,
    )
    ambiguous: Ambiguous = setting(
        "BOOMERANG_AMBIGUOUS",
        ma.Enum,
        Ambiguous.HOLD,
        "`hold` or `resend`: what happens to a job in doubt if `BOOMERANG_LOOKUP_PATH` is `off`. `resend` can pay "
        "twice, see [guarantees](explanation/guarantees.md#where-never-twice-ends).",
        enum=Ambiguous,
        by_value=True,
    )
    max_attempts: int = setting(
        "BOOMERANG_MAX_ATTEMPTS",
        ma.Integer,
        3,
        "All attempts of a job, each under its own external id. 1 means no second attempt. A retry by hand is always "
        "possible and counts as a further attempt. After a correction of the request the count begins again.",
        validate=_AT_LEAST_ONE,
    )
    callback_mode: CallbackMode = setting(
        "BOOMERANG_CALLBACK_MODE",
        ma.Enum,
        CallbackMode.TRUST,
        "`trust`: a callback with output and price completes the job. `confirm`: every callback only triggers a poll. "
        "Use `confirm` if you do not trust the path of callbacks.",
        enum=CallbackMode,
        by_value=True,
    )
    recovery: bool = setting(
        "BOOMERANG_RECOVERY",
        ma.Boolean,
        default=True,
        meaning="After each restart and each failover of the jobs' Redis, [look jobs from before "
        "up](guides/recover-redis.md#after-redis-lost-writes) before they are sent, because Redis may have lost the "
        "record of their submission. `off` for a single Redis that loses no acknowledged write (`appendfsync "
        "always`): then work continues at once. `boomerang-server up` sets it to `off`.",
    )
    tolerated_loss: float = setting(
        "BOOMERANG_TOLERATED_LOSS",
        ma.Float,
        0.0,
        "Seconds. If the jobs' Redis comes back older than workers saw it, and accepted jobs are lost, the service "
        "[stops](guides/recover-redis.md#redis-lost-jobs) until an operator decides. A loss of no more than these "
        "seconds does not stop it: every job is looked up, and work continues. Use 5 for `appendfsync everysec`, and "
        "30 for a failover without `BOOMERANG_REPLICAS`. An empty Redis, or another one, always stops the service. "
        "Only workers use it.",
        validate=_NOT_NEGATIVE,
    )
    retention: float = setting(
        "BOOMERANG_RETENTION",
        ma.Float,
        A_WEEK,
        "How long an ended job and its result are kept, at least 60. During that time its id protects against a "
        "second purchase.",
        validate=_A_MINUTE,
    )
    audit_trail_retention: float = setting(
        "BOOMERANG_AUDIT_TRAIL_RETENTION",
        ma.Float,
        90 * A_DAY,
        "How long entries of the [audit trail](guides/manage-keys.md#the-audit-trail) are kept, at least 60. Of each "
        f"producer, the newest {ENTRIES_KEPT:,} are kept, and as many of all operators together.",
        validate=_A_MINUTE,
    )
    image_store: str = setting(
        "BOOMERANG_IMAGE_STORE",
        ma.String,
        IN_REDIS,
        "Where the bytes of reference images are: `redis` (the jobs' Redis), or a folder or bucket as a URL of "
        "[fsspec](https://filesystem-spec.readthedocs.io/): `file:///srv/images`, `s3://bucket/images`. See [store "
        "reference images](guides/store-images.md).",
        secret=True,
        validate=image_store,
    )
    image_retention: float = setting(
        "BOOMERANG_IMAGE_RETENTION",
        ma.Float,
        A_DAY,
        "How long an image is kept after the end of the last unfinished job that refers to it, and after each upload "
        "of it and each question for it. At least 60. With a longer time, failed jobs can be retried for longer "
        "without another upload.",
        validate=_A_MINUTE,
    )
    allow_private_hosts: bool = setting(
        "BOOMERANG_ALLOW_PRIVATE_HOSTS",
        ma.Boolean,
        default=False,
        meaning="Allow hosts that are not public in `callback_url` and in URLs of images, and send notifications "
        "there. Only for local stacks and closed networks.",
    )
    allowed_callback_ports: tuple[int, ...] | None = setting(
        "BOOMERANG_CALLBACK_PORTS",
        Ports,
        None,
        "Ports that a `callback_url` may have, comma-separated; `any`: all. Unset: 80 and 443, and all if "
        "`BOOMERANG_ALLOW_PRIVATE_HOSTS` is set.",
    )
    unknown_parameters: UnknownParameters = setting(
        "BOOMERANG_UNKNOWN_PARAMETERS",
        ma.Enum,
        UnknownParameters.REFUSE,
        "What happens to parameters that the model's pages do not list. `refuse`: the request is refused, which finds "
        "typing errors before they cost money. `pass`: they go to the provider unchanged, for what a model has learned "
        "since ([requests](requests.md#unknown-parameters)).",
        enum=UnknownParameters,
        by_value=True,
    )
    log_format: LogFormat = setting(
        LOG_FORMAT,
        ma.Enum,
        LogFormat.TEXT,
        "`text`: lines for people. `json`: one object per line, with `job`, `attempt` and `lane` beside the message. "
        "The compose file sets `json`, for Redis and the simulator, too. Both [hide "
        "secrets](guides/read-logs.md#secrets).",
        enum=LogFormat,
        by_value=True,
    )

    def __post_init__(self) -> None:
        """Fill in unset values that follow from other settings."""
        super().__post_init__()
        derived = {
            "key_limits": self.key_limits or {},
            "list_prices": self.list_prices or ListPrices(),
            "poll_first": self.poll_first or (POLL_FIRST_WITH_CALLBACKS if self.public_url else POLL_FIRST_WITHOUT),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def passes_unknown(self) -> bool:
        """Whether unknown parameters go to the provider."""
        return self.unknown_parameters is UnknownParameters.PASS

    @property
    def lacks_callback_secrets(self) -> bool:
        """Whether the provider is to call the webhook, and no secret shows which callbacks are forged."""
        return self.public_url is not None and not self.callback_secrets

    @property
    def callback_ports(self) -> tuple[int, ...] | None:
        """The ports that a `callback_url` may have; None: any."""
        if self.allowed_callback_ports is None:
            return None if self.allow_private_hosts else (80, 443)
        return self.allowed_callback_ports or None

    def result_expiry_of(self, lane: str) -> float:
        """Return for how many seconds the provider of a lane is assumed to keep a result."""
        return self.expiry_of(lane, self.lanes)

    def callback_hosts(self, owner: str) -> tuple[str, ...] | None:
        """Return the hosts at which a producer may be notified; None: any."""
        return self.key_limits.get(owner, KeyLimits()).callback_hosts

    @property
    def lanes(self) -> tuple[LaneSettings, ...]:
        """The provider's accounts; by default one with the limits above."""
        alone = LaneSettings(
            max_in_flight=self.max_in_flight, submit_rate=self.submit_rate, learn_limit=self.learn_limit
        )
        return self.named_lanes or (alone,)

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield problems of settings that are valid by themselves but not together. `given` lacks invalid ones."""
        yield from super().problems(given)
        if given.get("named_lanes") and any(map(given.get, ("max_in_flight", "submit_rate", "learn_limit"))):
            unset = "BOOMERANG_MAX_IN_FLIGHT, BOOMERANG_SUBMIT_RATE and BOOMERANG_LEARN_LIMIT"
            yield "named_lanes", f"has limits for each lane; unset {unset}"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment. Raises `SettingsInvalid`, which names every invalid variable."""
        try:
            return cls(**read(cls, env))
        except ValidationError as error:
            raise SettingsInvalid(list(described(error))) from None
