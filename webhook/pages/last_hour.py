"""The last hour: how many jobs ended each minute, what settled them, and how long they waited and took."""

from collections.abc import Iterable, Mapping
from typing import Any

from flask import Response

from jobs.api_keys import Scope
from jobs.history import Durations, Period
from jobs.states import State
from webhook.api.ownership import owner
from webhook.pages.blueprint import page, show
from webhook.pages.charts import columns, lines
from webhook.services import services

MINUTES = 60
_CALLBACK, _POLL = "callback", "poll"


@page("/last-hour", scope=Scope.READ)
def last_hour() -> Response:
    """Show the numbers of the last hour, minute by minute. A producer sees its own."""
    return show("last_hour.html", part="last_hour_now.html", **read_last_hour())


def read_last_hour() -> dict[str, Any]:
    """Return what the templates of the last hour show, from counters: one round trip."""
    periods = services().store.history.minutes(MINUTES, owner())
    ended = sum(sum(each.ended.values()) for each in periods)
    settled = _sum(each.settled_by for each in periods)
    return {
        "periods": periods,
        "ended": ended,
        "per_minute": ended / MINUTES,
        "by_callback": settled.get(_CALLBACK, 0),
        "by_poll": settled.get(_POLL, 0),
        "waited": _merged(each.waited for each in periods),
        "took": _merged(each.took for each in periods),
        "throughput": columns(
            [(_title(each, MINUTES - 1 - place), _parts(each)) for place, each in enumerate(periods)]
        ),
        "waits": _quantiles([each.waited for each in periods]),
        "times": _quantiles([each.took for each in periods]),
    }


def _title(period: Period, minutes_ago: int) -> str:
    parts = [f"{count} {state}" for state, count in sorted(period.ended.items()) if count]
    return f"{minutes_ago} min ago: {', '.join(parts) or 'none'}"


def _parts(period: Period) -> Mapping[str, float]:
    """Return the numbers of a column: completed, failed, and those that ended otherwise."""
    completed, failed = period.ended.get(State.COMPLETED, 0), period.ended.get(State.FAILED, 0)
    return {"first": completed, "bad": failed, "second": sum(period.ended.values()) - completed - failed}


def _quantiles(times: list[Durations]) -> Any:
    return lines({"first": [each.quantile(0.5) for each in times], "second": [each.quantile(0.95) for each in times]})


def _merged(times: Iterable[Durations]) -> Durations:
    return Durations(_sum(each.buckets for each in times))


def _sum(counts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    total: dict[Any, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
