"""Lanes: what each provider account does, and forms that change its limits, pause it and resume it."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue

from jobs.api_keys import Scope
from jobs.read_models import Lane
from webhook.access.auth import caller
from webhook.api.lanes import visible, visible_lanes
from webhook.api.limits import LanePatch, apply_to_lane, check_lane, load_change
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.formats import span
from webhook.pages.forms import all_errors, errors_of
from webhook.services import services

#: How long a change may hold, in seconds; "" for one without an end.
_ENDS = (("900", "15 minutes"), ("3600", "1 hour"), ("14400", "4 hours"), ("86400", "1 day"), ("604800", "7 days"))
NO_END = ("", "until it is changed again")
#: The fields of the form: limit, label, hint.
FIELDS = (
    ("max_in_flight", "Slots", "Most images at once. 0: no limit."),
    ("submit_rate", "Rate", "Most submissions per second. 0: no limit."),
    ("max_cost_per_day", "Cap", "Most dollars in a day of UTC. Empty: no cap."),
)


@page("/lanes", scope=Scope.READ)
def lanes() -> Response:
    """List the lanes, and for administrators the prices that were learned."""
    prices = services().store.statistics.prices() if caller().admin else None
    return show("lanes.html", part="lanes_now.html", lanes=visible_lanes(), prices=prices)


@page("/lanes/<lane>", scope=Scope.READ)
def lane(lane: str) -> Response:
    """Show one lane, with its history and the forms that change it."""
    check_lane(lane)
    return _show(lane)


@page("/lanes/<lane>/limits", scope=Scope.ADMIN, methods=["POST"])
def change_lane_limits(lane: str) -> ResponseReturnValue:
    """Change the limits that the person changed in the form."""
    check_lane(lane)
    form = request.form
    # Not those in force: somebody else may have changed them since the form was shown.
    before = {name: form.get(f"before_{name}", "") for name, *_ in FIELDS}
    wanted = {name: form.get(name, "").strip() for name, *_ in FIELDS}
    values = {name: _number(name, text) for name, text in wanted.items() if text != before[name]}
    if not values:
        return not_done("Nothing was changed: the form has the limits that it began with.", "pages.lane", lane=lane)
    try:
        change = load_change(LanePatch, {**values, **_options()})
    except ProblemError as problem:
        return _show(lane, entered=form, before=before, errors=errors_of(problem)), problem.status
    ends = _until(change["expires_in"])
    apply_to_lane(lane, change)
    return done(
        f"Changed the limits of lane {lane}{ends}. They are in force within two seconds.", "pages.lane", lane=lane
    )


@page("/lanes/<lane>/reset", scope=Scope.ADMIN, methods=["POST"])
def reset_lane_limit(lane: str) -> ResponseReturnValue:
    """Give a limit its configured value back."""
    check_lane(lane)
    name = request.form.get("limit", "")
    apply_to_lane(lane, load_change(LanePatch, {"reset": [name]}))
    return done(f"Lane {lane} has its configured {_label(name)} again within two seconds.", "pages.lane", lane=lane)


@page("/lanes/<lane>/pause", scope=Scope.ADMIN, methods=["POST"])
def pause_lane(lane: str) -> ResponseReturnValue:
    """Submit nothing through the lane."""
    check_lane(lane)
    try:
        change = load_change(LanePatch, {"paused": True, **_options()})
    except ProblemError as problem:
        why = all_errors(problem) or problem.detail
        return not_done(f"Lane {lane} was not paused: {why}", "pages.lane", lane=lane)
    ends = _until(change["expires_in"])
    apply_to_lane(lane, change)
    return done(f"Paused lane {lane}{ends}. The provider goes on with the tasks that it has.", "pages.lane", lane=lane)


@page("/lanes/<lane>/resume", scope=Scope.ADMIN, methods=["POST"])
def resume_lane(lane: str) -> ResponseReturnValue:
    """End the pause of the lane."""
    check_lane(lane)
    apply_to_lane(lane, load_change(LanePatch, {"paused": False}))
    return done(f"Resumed lane {lane}.", "pages.lane", lane=lane)


def _show(
    name: str,
    *,
    entered: Mapping[str, str] | None = None,
    before: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
) -> Response:
    """Show a lane. After a refused form: with what was entered, what the form began with, and what is wrong."""
    (lane,) = visible([services().store.lanes.get(name)])
    return show(
        "lane.html",
        part="lane_now.html",
        lane=lane,
        values=entered or _values(lane),
        before=before or _values(lane),
        errors=errors or {},
        fields=FIELDS,
        ends=(NO_END, *_ENDS),
        label=_label,
    )


def _values(lane: Lane) -> dict[str, str]:
    """Return the limits in force as the form shows them."""
    settings = lane.settings
    if settings is None:
        return dict.fromkeys((name for name, *_ in FIELDS), "")
    cap = settings.max_cost_per_day
    return {
        "max_in_flight": str(settings.max_in_flight),
        "submit_rate": f"{settings.submit_rate:g}",
        "max_cost_per_day": "" if cap is None else f"{cap:f}",
    }


def _number(name: str, text: str) -> object:
    """Return the values of the form as the API takes them. Text that is no number stays text: the schema refuses it."""
    if name == "max_cost_per_day":
        return text or None
    try:
        return int(text) if name == "max_in_flight" else float(text)
    except ValueError:
        return text


def _options() -> dict[str, Any]:
    """Return the reason and the duration that the form names."""
    ends = request.form.get("expires_in", "")
    return {"reason": request.form.get("reason", "").strip(), "expires_in": ends or None}


def _until(seconds: float | None) -> str:
    return f" for {span(seconds)}" if seconds else ""


def _label(limit: str) -> str:
    return next((label.lower() for name, label, _ in FIELDS if name == limit), limit)
