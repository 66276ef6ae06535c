"""Limits of API keys, by their names: the share of admission, and the spending of a day."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, post_load, validate
from marshmallow import fields as ma

from jobs.job import Priority
from jobs.lanes import MOST_MONEY, flat

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


class _Limits(Schema):
    weight = ma.Integer(strict=True, load_default=1, validate=validate.Range(1, MOST_WEIGHT))
    priority = ma.Enum(Priority, by_value=True, load_default=Priority.NORMAL)
    max_cost_per_day = ma.Decimal(
        load_default=None, allow_none=True, validate=validate.Range(min=0, max=MOST_MONEY, min_inclusive=False)
    )
    max_unfinished = ma.Integer(strict=True, load_default=None, allow_none=True, validate=validate.Range(0))
    max_stored = ma.Integer(strict=True, load_default=None, allow_none=True, validate=validate.Range(0))

    callback_hosts = ma.List(
        ma.String(validate=validate.Regexp(_HOST)), load_default=None, allow_none=True, validate=validate.Length(min=1)
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> KeyLimits:
        if data["callback_hosts"] is not None:
            data["callback_hosts"] = tuple(host.lower() for host in data["callback_hosts"])
        return KeyLimits(**data)


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
                limits[name] = _Limits().load(each)
            except ValidationError as error:
                problems.append(f"{name}: {flat(error.normalized_messages())}")  # type: ignore[no-untyped-call]
        if problems:
            raise ValidationError("; ".join(problems))
        return limits
