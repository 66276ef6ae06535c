"""The start page: what is moving now, what it costs, what needs a person, and whether all is well."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response, request

from jobs.api_keys import Scope
from jobs.errors import StoreUnavailable
from jobs.liveness import Pulse, TroubleCode
from jobs.read_models import Count
from jobs.states import State
from jobs.store.stuck import counted
from webhook.access.auth import caller
from webhook.api.lanes import visible_lanes
from webhook.api.openapi import EXAMPLES_WITHOUT_ID
from webhook.condition import OK, Condition, examine
from webhook.pages.blueprint import HTMX, page, show
from webhook.pages.budgets import read_budgets, spent_today
from webhook.pages.last_hour import read_last_hour
from webhook.pages.needs_person import NEEDS
from webhook.services import services

_WORKER = frozenset({TroubleCode.NO_WORKER, TroubleCode.WORKERS_BUSY, TroubleCode.QUEUE_UNREAD})
_BEAT = frozenset({TroubleCode.BEAT_AWAY, TroubleCode.STALLED})
_EXAMPLE = json.dumps(next(iter(EXAMPLES_WITHOUT_ID.values())))


@dataclass(frozen=True, slots=True)
class Sign:
    """Whether a part of the service is well: `state` is ok, problem or unknown; `age`: seconds since its last sign."""

    name: str
    state: str
    age: float | None = None


@page("/", scope=Scope.READ)
def overview() -> Response:
    """Show what the caller may see of all that moves."""
    condition = examine(services())
    facts: dict[str, Any] = {}
    if condition.pulse is not None:
        try:
            facts = _facts(condition.pulse)
        except StoreUnavailable:  # it went away meanwhile
            condition = examine(services())
    if HTMX not in request.headers and facts.get("begun"):
        facts |= _last_hour()
    return show(
        "overview.html",
        part="overview_now.html",
        now=condition,
        ok=OK,
        signs=list(_signs(condition)),
        origin=_origin(),
        example=_EXAMPLE,
        **facts,
    )


def _last_hour() -> dict[str, Any]:
    """Read the last hour. Its part of the page updates itself, more seldom than the rest."""
    try:
        return read_last_hour()
    except StoreUnavailable:
        return {}


def _facts(pulse: Pulse) -> dict[str, Any]:
    """Read what Redis knows. A producer gets what is counted for it alone, and what the API shows it of lanes."""
    store, lanes = services().store, visible_lanes()
    facts: dict[str, Any] = {"lanes": lanes}
    if caller().admin:
        counts = store.statistics.totals().counts
        facts |= {
            "counts": counts,
            "jobs": sum(counts.values()),
            "begun": any(counts.values()),
            "needs": [(kind, NEEDS[kind], count) for kind, count in counted(store, tuple(lanes)).items() if count],
            "states": list(State),
        }
    else:
        facts |= _own_jobs()
        facts["begun"] = caller().name in store.statistics.owners()
    budgets, ends = read_budgets(lanes, pulse)
    return facts | {"budgets": budgets, "spent": spent_today(budgets), "ends": ends}


def _own_jobs() -> dict[str, Any]:
    """Count the caller's unfinished jobs by state. All others of them wait."""
    store, owner = services().store, caller().name
    unfinished, counts = store.statistics.held().unfinished.get(owner, 0), store.jobs.count_under_way(owner)
    waiting = max(0, unfinished - sum(each.jobs for each in counts.values()))
    exact = all(each.exact for each in counts.values())
    return {"unfinished": unfinished, "own": {State.QUEUED: Count(waiting, exact=exact), **counts}}


def _signs(now: Condition) -> Iterator[Sign]:
    """Report whether each part works. Behind a part that is away, the others are unknown."""
    codes = {trouble.code for trouble in now.troubles}
    blind = now.pulse is None or now.broker != OK
    read_at = max(now.pulse.read_at.values(), default=None) if now.pulse else None
    seen = None if now.pulse is None or read_at is None else max(0.0, now.pulse.now - read_at)
    round_age = now.pulse.round_age if now.pulse else None
    yield Sign("Worker", _state(bad=bool(codes & _WORKER), unknown=blind or seen is None), seen)
    away = bool(codes & _BEAT)
    yield Sign("Beat", _state(bad=away, unknown=blind or round_age is None or bool(codes & _WORKER)), round_age)
    yield Sign("Broker", _state(bad=now.broker != OK or TroubleCode.BROKER_AWAY in codes))
    yield Sign("Redis", _state(bad=now.redis != OK))


def _state(*, bad: bool, unknown: bool = False) -> str:
    return "problem" if bad else "unknown" if unknown else "ok"


def _origin() -> str:
    """Return the address by which the person reached this service. A proxy that ends TLS names the scheme."""
    if request.headers.get("X-Forwarded-Proto") == "https":
        return request.host_url.replace("http://", "https://", 1).rstrip("/")
    return request.host_url.rstrip("/")
