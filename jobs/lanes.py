"""Lanes: the provider's accounts, and the routing of jobs to them.

One lane needs no configuration. Several are a JSON list in `BOOMERANG_LANES`. Lanes with the same rule (`models` and
`labels`) form a pool: jobs are accepted into a pool, and whichever of its lanes has a free slot takes the next one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from marshmallow import Schema, ValidationError, post_load, validate
from marshmallow import fields as ma

from jobs.job import LANE

#: Prefix of the pool of a single lane, for attempts that may have reached its account before.
ONLY = "@"
#: The environment variable of the default lane's provider key, and the prefix of those of other lanes.
PROVIDER_KEY = "BOOMERANG_PROVIDER_KEY"
NAME = r"^[a-z0-9][a-z0-9-]{0,31}$"
#: The lowest and highest amounts (USD) that are allowed: a nano-dollar; and in 64 bits they hold far more.
LEAST_MONEY, MOST_MONEY = Decimal("0.000000001"), Decimal(1_000_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings:
    """One account: which jobs it takes, and its limits. 0 means "no limit" for slots and rate.

    `models` are patterns with `*` and `?`. A job, or its batch, must have all `labels`. Neither: any job.
    `learn_limit`: learn the limit of slots, at most `max_in_flight`, from the provider's refusals.
    `max_cost_per_day` in USD, by days of UTC. `url`: None for BOOMERANG_PROVIDER_URL.
    `result_expiry`: seconds for which the provider keeps a result; None for BOOMERANG_RESULT_EXPIRY.
    """

    name: str = LANE
    models: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    max_in_flight: int = 0
    submit_rate: float = 0.0
    max_cost_per_day: Decimal | None = None
    learn_limit: bool = False
    result_expiry: float | None = None
    pool: str = ""

    def takes(self, model: str, labels: Mapping[str, str]) -> bool:
        """Whether such a job may go to it."""
        named = not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)
        return named and all(labels.get(name) == value for name, value in self.labels.items())

    @property
    def key_variable(self) -> str:
        """The environment variable of its provider key."""
        suffix = "" if self.name == LANE else "_" + self.name.upper().replace("-", "_")
        return PROVIDER_KEY + suffix


def route(lanes: Sequence[LaneSettings], model: str, labels: Mapping[str, str]) -> str | None:
    """Return the pool of the first lane that takes such a job; None if no lane does."""
    return next((lane.pool for lane in lanes if lane.takes(model, labels)), None)


class LaneLimitsSchema(Schema):
    """The limits of a lane that can be changed while the service runs, each as in BOOMERANG_LANES."""

    max_in_flight = ma.Integer(
        strict=True,
        load_default=0,
        validate=validate.Range(min=0),
        metadata={"description": "Most images at once. 0: no limit.", "example": 64},
    )
    submit_rate = ma.Float(
        load_default=0.0,
        validate=validate.Range(min=0),
        metadata={"description": "Most submissions per second. 0: no limit.", "example": 5.0},
    )
    max_cost_per_day = ma.Decimal(
        load_default=None,
        allow_none=True,
        as_string=True,
        validate=validate.Range(LEAST_MONEY, MOST_MONEY),
        metadata={"description": "Most that its jobs may cost in a day of UTC, in USD. null: no limit."},
    )


class _Lane(LaneLimitsSchema):
    name = ma.String(
        required=True, validate=validate.Regexp(NAME, error="must have 1 to 32 of a-z 0-9 - and begin with no -")
    )
    models = ma.List(ma.String(validate=validate.Length(1, 128)), load_default=list)
    labels = ma.Dict(keys=ma.String(), values=ma.String(), load_default=dict)
    url = ma.URL(schemes={"http", "https"}, require_tld=False, load_default=None)
    learn_limit = ma.Boolean(load_default=False)
    result_expiry = ma.Float(load_default=None, validate=validate.Range(min=60))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> LaneSettings:
        return LaneSettings(**{**data, "models": tuple(data["models"])})


class LanesField(ma.Field[tuple[LaneSettings, ...]]):
    """The JSON list of lanes."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[LaneSettings, ...]:
        try:
            given = json.loads(value)
        except ValueError as error:
            raise ValidationError(f"must be a JSON list of lanes: {error}") from None
        if not isinstance(given, list) or not given:
            raise ValidationError('must be a JSON list of lanes, such as [{"name": "default", "max_in_flight": 20}]')
        lanes: list[LaneSettings] = []
        problems: list[str] = []
        for number, each in enumerate(given, 1):
            try:
                lanes.append(_Lane().load(each))
            except ValidationError as error:
                messages: Any = error.normalized_messages()  # type: ignore[no-untyped-call]
                problems += [f"lane {number}, {name}: {flat(each)}" for name, each in sorted(messages.items())]
        names = [lane.name for lane in lanes]
        problems += [f"{name} is the name of two lanes" for name in sorted({n for n in names if names.count(n) > 1})]
        if problems:
            raise ValidationError("; ".join(problems))
        return pooled(lanes)


def pooled(lanes: Sequence[LaneSettings]) -> tuple[LaneSettings, ...]:
    """Set the pool of each lane: '' if it takes any job, else the name of the first lane with the same rule."""
    pools: dict[tuple[Any, ...], str] = {}
    made = []
    for lane in lanes:
        rule = (frozenset(lane.models), frozenset(lane.labels.items()))
        pool = pools.setdefault(rule, lane.name if lane.models or lane.labels else "")
        made.append(replace(lane, pool=pool))
    return tuple(made)


def flat(messages: Any) -> str:
    """Return marshmallow's nested error messages as one line."""
    if isinstance(messages, Mapping):
        return "; ".join(f"{name}: {flat(each)}" for name, each in messages.items())
    return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
