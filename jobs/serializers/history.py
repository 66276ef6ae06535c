"""Serializer of the history, as `schemas.views.history` documents it."""

from typing import Any

from jobs.history import Durations, Period


def serialize_period(period: Period) -> dict[str, Any]:
    """Return a minute or an hour as JSON data."""
    return {
        "at": period.at.isoformat(),
        "seconds": period.seconds,
        "ended": {state.value: count for state, count in sorted(period.ended.items())},
        "settled_by": dict(sorted(period.settled_by.items())),
        "queue_wait": _durations(period.waited),
        "provider_time": _durations(period.took),
    }


def _durations(times: Durations) -> dict[str, Any]:
    return {"count": times.count, "p50": _seconds(times, 0.5), "p95": _seconds(times, 0.95)}


def _seconds(times: Durations, share: float) -> float | None:
    found = times.quantile(share)
    return None if found is None else round(found, 2)
