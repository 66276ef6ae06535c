"""Limits of API keys, by their names: the share of admission, and the spending of a day."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, validate
from marshmallow import fields as ma

from jobs.job import Priority
from jobs.lanes import LEAST_MONEY, MOST_MONEY, flat

MOST_WEIGHT = 100
#: `*`, a name or an address, or `*.` and a name.
_HOST = re.compile(r"(?:\*|(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """The limits of one name. `weight`: its share of admission relative to other names of its `priority`.

    `max_cost_per_day` in USD, by days of UTC. `max_unfinished`: jobs. `max_stored`: bytes of its jobs in Redis.
    `callback_hosts`: the hosts of its `callback_url`s, which the operator vouches for; None: any.
    """

    weight: int = 1
    callback_hosts: tuple[str, ...] | None = None
    priority: Priority = Priority.NORMAL
    max_cost_per_day: Decimal | None = None
    max_unfinished: int | None = None
    max_stored: int | None = None


class HostPatterns(ma.List[Any]):
    """Hosts, in lower case."""

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        found: list[Any] = super()._deserialize(*args, **kwargs)
        return tuple(str(host).lower() for host in found)


class KeyLimitsSchema(Schema):
    """The limits of a producer's key, each as in BOOMERANG_KEY_LIMITS."""

    weight = ma.Integer(
        strict=True,
        load_default=1,
        validate=validate.Range(1, MOST_WEIGHT),
        metadata={"description": "The key's share of admission, beside other keys of its priority.", "example": 3},
    )
    priority = ma.Enum(
        Priority,
        by_value=True,
        load_default=Priority.NORMAL,
        metadata={"description": "While jobs of a higher key wait, none of a lower key is admitted."},
    )
    max_cost_per_day = ma.Decimal(
        load_default=None,
        allow_none=True,
        as_string=True,
        validate=validate.Range(LEAST_MONEY, MOST_MONEY),
        metadata={"description": "Most that its jobs may cost in a day of UTC, in USD. null: no limit."},
    )
    max_unfinished = ma.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(0),
        metadata={"description": "Most unfinished jobs. null: no limit of its own."},
    )
    max_stored = ma.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=validate.Range(0),
        metadata={"description": "Most bytes of its jobs and images. null: no limit of its own."},
    )
    callback_hosts = HostPatterns(
        ma.String(validate=validate.Regexp(_HOST)),
        load_default=None,
        allow_none=True,
        validate=validate.Length(min=1),
        metadata={"description": "The only hosts that its notifications may go to. null: any."},
    )


class KeyLimitsField(ma.Field[Mapping[str, KeyLimits]]):
    """A JSON object: a key's name -> its limits."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, KeyLimits]:
        try:
            given = json.loads(value)
        except ValueError as error:
            raise ValidationError(f"must be a JSON object: {error}") from None
        if not isinstance(given, dict):
            raise ValidationError('must be a JSON object such as {"shop": {"weight": 3, "max_cost_per_day": "50"}}')
        limits: dict[str, KeyLimits] = {}
        problems = []
        for name, each in given.items():
            try:
                limits[name] = KeyLimits(**KeyLimitsSchema().load(each))
            except ValidationError as error:
                problems.append(f"{name}: {flat(error.normalized_messages())}")  # type: ignore[no-untyped-call]
        if problems:
            raise ValidationError("; ".join(problems))
        return limits
