"""Limits of lanes and keys that are changed while the service runs: each replaces what the settings say, for a time."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from marshmallow import ValidationError

from jobs.decoding import UNREADABLE
from jobs.fields import Payer, printable
from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneLimitsSchema
from jobs.settings import Settings
from jobs.units import from_micros, to_micros

log = logging.getLogger(__name__)


class Subject(StrEnum):
    """What has limits. The value is the prefix of its name in Redis."""

    LANE = Payer.LANE
    KEY = Payer.KEY


#: The schema of the limits of each subject, which reads all or some of them.
SCHEMAS = {Subject.LANE: LaneLimitsSchema, Subject.KEY: KeyLimitsSchema}


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """The changed value of one limit, since `at`, until `until` (None: until it is reset), and who changed it why."""

    value: Any
    at: datetime
    until: datetime | None = None
    by: str = ""
    reason: str = ""


#: The overrides of one lane or key: limit → override.
Overrides = Mapping[str, Override]


def to_text(subject: Subject, name: str, override: Override) -> str:
    """Return an override of the limit `name` as it is stored."""
    value = SCHEMAS[subject]().dump({name: override.value})[name]
    until = None if override.until is None else to_micros(override.until)
    return json.dumps(
        {"value": value, "at": to_micros(override.at), "until": until, "by": override.by, "reason": override.reason}
    )


def from_text(subject: Subject, name: str, text: str) -> Override:
    """Read a stored override of the limit `name`. Raises one of `UNREADABLE` or marshmallow's ValidationError."""
    stored = json.loads(text)
    value = SCHEMAS[subject](partial=True).load({name: stored["value"]})[name]
    until = stored["until"]
    return Override(
        value=value,
        at=from_micros(stored["at"]),
        until=None if until is None else from_micros(until),
        by=str(stored["by"]),
        reason=str(stored["reason"]),
    )


#: By lane or key.
AllOverrides = Mapping[tuple[Subject, str], Overrides]


def read_overrides(stored: Mapping[str, str]) -> AllOverrides:
    """Read all stored overrides.

    One that cannot be read is left out, so that the configured limit is in force; the log names it.
    """
    found: dict[tuple[Subject, str], dict[str, Override]] = {}
    for field, text in stored.items():
        owner, _, name = field.rpartition("|")
        try:
            subject = Subject(owner[:1])
            override = from_text(subject, name, text)
        except (*UNREADABLE, ValidationError) as error:
            log.warning(
                "the changed limit %s cannot be read, so the configured one is in force: %s", printable(field), error
            )
            continue
        found.setdefault((subject, owner[1:]), {})[name] = override
    return found


def without_expired(overrides: AllOverrides, now: datetime) -> AllOverrides:
    """Return the overrides that are in force."""
    return {
        owner: left
        for owner, each in overrides.items()
        if (left := {name: one for name, one in each.items() if one.until is None or one.until > now})
    }


def expired_fields(overrides: AllOverrides, now: datetime) -> set[str]:
    """Return the stored fields of the overrides that are over."""
    return {
        f"{subject}{owner}|{name}"
        for (subject, owner), each in overrides.items()
        for name, one in each.items()
        if one.until is not None and one.until <= now
    }


def apply(settings: Settings, overrides: AllOverrides) -> Settings:
    """Return the settings with the overrides in force. Limits of lanes that are not configured have no effect."""
    if not overrides:
        return settings
    of_keys = {name: each for (subject, name), each in overrides.items() if subject is Subject.KEY}
    keys = {
        name: replace(settings.key_limits.get(name, KeyLimits()), **_values(each)) for name, each in of_keys.items()
    }
    lanes = tuple(replace(lane, **_values(overrides.get((Subject.LANE, lane.name), {}))) for lane in settings.lanes)
    return replace(settings, named_lanes=lanes, key_limits={**settings.key_limits, **keys})


def _values(overrides: Overrides) -> dict[str, Any]:
    return {name: each.value for name, each in overrides.items()}
