"""Deliveries: how the receivers of notifications are doing, the log of attempts, and sending again."""

from collections.abc import Mapping
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.delivery_log import ReceiverHealth, ReplayOutcome
from schemas.queries.deliveries import DELIVERY_STATES, DeliveryQuery, ReplayQuery
from schemas.queries.parameters import MAX_PAGE
from webhook.access.audit_log import annotate
from webhook.api.deliveries import enable_receiver, find_deliveries, replay_deliveries, replay_found, visible_receivers
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.forms import errors_of

#: Deliveries on a page.
_ROWS = "50"
#: Receivers that are listed, those with trouble first.
MOST_RECEIVERS = 100
#: Steps of one press of a button, of up to a page of the API each.
_STEPS = 10
_FIELDS = ("state", "host", "since", "cursor")
_REPLAYED = {
    ReplayOutcome.UNDER_WAY: "It is being sent at this moment.",
    ReplayOutcome.NOTHING: "There is nothing to send: the job has not ended, or has no callback_url.",
    ReplayOutcome.UNKNOWN: "There is no such delivery any more.",
}


@page("/deliveries", scope=Scope.READ)
def deliveries() -> ResponseReturnValue:
    """Show the receivers, and the log by state, host and time."""
    given: dict[str, Any] = {name: request.args[name].strip() for name in _FIELDS if request.args.get(name, "").strip()}
    receivers = sorted(visible_receivers(), key=_trouble)
    view: dict[str, Any] = {
        "given": given,
        "pills": _pills(given),
        "receivers": receivers[:MOST_RECEIVERS],
        "more_receivers": max(0, len(receivers) - MOST_RECEIVERS),
    }
    try:
        found = find_deliveries(_query(given))
    except (ValidationError, ProblemError) as error:
        return show("deliveries.html", part="deliveries_now.html", errors=errors_of(error), **view), 422
    first = url_for("pages.deliveries", **_without(given, "cursor")) if "cursor" in given else None
    following = url_for("pages.deliveries", **given | {"cursor": found.cursor}) if found.cursor else None
    return show(
        "deliveries.html",
        part="deliveries_now.html",
        notifications=found.notifications,
        first=first,
        next=following,
        errors={},
        **view,
    )


@page("/deliveries/replay", scope=Scope.ENQUEUE, methods=["POST"])
def replay_delivery() -> ResponseReturnValue:
    """Send one notification again."""
    known = request.form.get("id", "")
    annotate(delivery=known)
    (outcome,) = replay_deliveries([known]) if known else (ReplayOutcome.UNKNOWN,)
    if outcome is not ReplayOutcome.OWED:
        return not_done(_REPLAYED[outcome], "pages.deliveries")
    return done("It is sent again, with the same webhook-id.", "pages.deliveries")


@page("/deliveries/replay-failed", scope=Scope.ENQUEUE, methods=["POST"])
def replay_failed_deliveries() -> ResponseReturnValue:
    """Send all notifications again that failed or were given up: those to one host, or to all."""
    host = request.form.get("host", "").strip()
    query: dict[str, Any] = {**({"host": host} if host else {}), "limit": MAX_PAGE}
    replayed, cursor = 0, None
    for _ in range(_STEPS):
        try:
            outcomes, cursor = replay_found(ReplayQuery().load({**query, **({"cursor": cursor} if cursor else {})}))
        except ValidationError as error:
            return not_done("; ".join(errors_of(error).values()), "pages.deliveries")
        replayed += outcomes.count(ReplayOutcome.OWED)
        if cursor is None:
            break
    annotate(**({"host": host} if host else {}), replayed=replayed)
    more = " More follow: press the button again." if cursor else ""
    where = f" to {host}" if host else ""
    return done(f"Deliveries sent again{where}: {replayed}.{more}", "pages.deliveries", **_at(host))


@page("/deliveries/enable", scope=Scope.ENQUEUE, methods=["POST"])
def enable_delivery_host() -> ResponseReturnValue:
    """Enable a receiver that was disabled, and close its circuit breaker."""
    host = request.form.get("host", "")
    annotate(host=host)
    try:
        enable_receiver(host)
    except ProblemError as problem:
        return not_done(problem.detail, "pages.deliveries")
    return done(f"Enabled {host}. What was given up is not sent by itself: send it again.", "pages.deliveries")


def _at(host: str) -> dict[str, str]:
    """Return the filter of the page that shows the deliveries at a host."""
    return {"host": host} if host else {}


def _query(given: Mapping[str, str]) -> dict[str, Any]:
    """Load the filters. Raises `ValidationError`."""
    states = [given["state"]] if "state" in given else []
    query: dict[str, Any] = DeliveryQuery().load({**given, "state": states, "limit": _ROWS})
    return query


def _pills(given: Mapping[str, str]) -> list[tuple[str, str, bool, None]]:
    rest, chosen = _without(given, "cursor", "state"), given.get("state")
    every = ("All", url_for("pages.deliveries", **rest), chosen is None, None)
    return [
        every,
        *(
            (
                state.replace("_", " ").capitalize(),
                url_for("pages.deliveries", **rest, state=state),
                chosen == state,
                None,
            )
            for state in DELIVERY_STATES
        ),
    ]


def _without(given: Mapping[str, str], *names: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _trouble(receiver: ReceiverHealth) -> tuple[bool, bool]:
    """Order receivers: disabled ones, failing ones, then the others as they come."""
    return receiver.disabled_at is None, receiver.failing_since is None
