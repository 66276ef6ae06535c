"""Serializers of lanes and of the limits of keys, as `schemas.views.lanes` and `schemas.views.limits` document them."""

from typing import Any

from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneSettings
from jobs.limits import SCHEMAS, Overrides, Subject
from jobs.read_models import Lane
from jobs.serializers.values import money_text, time_text


def serialize_lane(lane: Lane) -> dict[str, Any]:
    """Return a lane as `schemas.views.lanes.LaneView` documents it."""
    settings = lane.settings or LaneSettings()
    return {
        "name": lane.name,
        "configured": lane.settings is not None,
        "pool": lane.pool,
        "models": list(settings.models),
        "labels": dict(settings.labels),
        "slots": lane.slots,
        "max_in_flight": settings.max_in_flight,
        "learned_limit": lane.learned,
        "limit": lane.limit,
        "submit_rate": settings.submit_rate,
        "max_cost_per_day": money_text(settings.max_cost_per_day),
        "window": lane.dispatched,
        "ready": lane.ready,
        "held": lane.held,
        "paused": lane.paused,
        "held_since": time_text(lane.held_since),
        "held_until": time_text(lane.held_until),
        "reason": lane.reason,
        "breaker": "open" if lane.open_since else "closed",
        "breaker_since": time_text(lane.open_since),
        "breaker_opened": lane.opened,
        "history": [
            {"at": each.at.isoformat(), "what": each.what, "limit": each.limit, "reason": each.reason}
            for each in lane.history
        ],
        "spent": money_text(lane.cost),
        "overrides": _overrides(Subject.LANE, lane.overrides, lane.configured or LaneSettings()),
    }


def serialize_key_limits(name: str, limits: KeyLimits, configured: KeyLimits, overrides: Overrides) -> dict[str, Any]:
    """Return the limits of a key as `schemas.views.limits.KeyLimitsView` documents them."""
    return {
        "name": name,
        **KeyLimitsSchema().dump(limits),
        "overrides": _overrides(Subject.KEY, overrides, configured),
    }


def _overrides(subject: Subject, overrides: Overrides, configured: LaneSettings | KeyLimits) -> list[dict[str, Any]]:
    schema = SCHEMAS[subject]()
    values, before = schema.dump({name: each.value for name, each in overrides.items()}), schema.dump(configured)
    return [
        {
            "name": name,
            "value": values[name],
            "configured": before[name],
            "since": each.at.isoformat(),
            "until": time_text(each.until),
            "by": each.by,
            "reason": each.reason,
        }
        for name, each in sorted(overrides.items())
    ]
