"""/v1/deliveries and /v1/receivers: what became of a producer's notifications, and sending them again."""

from collections.abc import Sequence
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.delivery_log import EnableOutcome, NotificationPage, NotificationState, ReceiverHealth, ReplayOutcome
from jobs.errors import JobNotFound
from jobs.serializers.deliveries import serialize_notification, serialize_receiver
from schemas.queries.deliveries import DeliveryQuery, ReplayQuery
from schemas.views.deliveries import DeliveriesOfOne, DeliveryList, ReceiverList, Replayed
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.access.rate_limits import Rate, too_many
from webhook.api.openapi import operation
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

#: Deliveries that a producer may have sent again: each is a call to a host that it chose, and costs nothing.
REPLAYS = Rate(100_000, "hour")

blueprint = Blueprint(
    "deliveries", __name__, url_prefix="/v1", description="Notifications at the `callback_url`, and their receivers."
)


@operation(
    blueprint, "GET", "/deliveries", {200: DeliveryList}, scope=Scope.READ, query=DeliveryQuery, refusals=(422, 503)
)
def page(query: dict[str, Any]) -> Response:
    """List deliveries.

    The last changed first: each with its last attempts. Pass `cursor` to get the next page. It is null on the last
    page. A page by host may be short, or even empty, although more follow.
    """
    found = find_deliveries(query)
    views = [serialize_notification(each) for each in found.notifications]
    return json_response({"deliveries": views, "cursor": found.cursor})


@operation(
    blueprint,
    "POST",
    "/deliveries/replay",
    {200: Replayed},
    scope=Scope.ENQUEUE,
    query=ReplayQuery,
    refusals=(422, 503),
)
def replay_page(query: dict[str, Any]) -> Response:
    """Send deliveries again.

    One page of those that `GET /v1/deliveries` lists, by default failed ones and those given up. Pass `cursor` until it
    is null. With `host`, that receiver is enabled first, and its circuit breaker is closed. The notifications keep
    their `webhook-id`, and wait for one another as all others do. A producer can have 100,000 sent again in an hour;
    beyond it the answer is 429, with a Retry-After.
    """
    outcomes, cursor = replay_found(query)
    annotate(**({"host": query["host"]} if "host" in query else {}), replayed=outcomes.count(ReplayOutcome.OWED))
    return json_response(_replayed(outcomes) | {"cursor": cursor})


@operation(
    blueprint, "GET", "/jobs/<job_id>/deliveries", {200: DeliveriesOfOne}, scope=Scope.READ, refusals=(404, 422, 503)
)
def of_job(job_id: str) -> Response:
    """Show the deliveries of a job."""
    store = services().store
    found = store.delivery_log.of_job(store.jobs.get(job_id))
    return json_response({"deliveries": [serialize_notification(found)] if found else []})


@operation(
    blueprint,
    "GET",
    "/batches/<batch_id>/deliveries",
    {200: DeliveriesOfOne},
    scope=Scope.READ,
    refusals=(404, 422, 503),
)
def of_batch(batch_id: str) -> Response:
    """Show the deliveries of the events of a batch.

    Oldest first: the last 100. Deliveries of its jobs are listed by `GET /v1/deliveries`.
    """
    store = services().store
    store.batches.get(batch_id)
    return json_response(
        {"deliveries": [serialize_notification(each) for each in store.delivery_log.of_batch(batch_id)]}
    )


@operation(
    blueprint,
    "POST",
    "/jobs/<job_id>/deliveries/replay",
    {200: Replayed},
    scope=Scope.ENQUEUE,
    refusals=(404, 409, 422, 503),
)
def replay(job_id: str) -> Response:
    """Send the notification of a job again.

    Also one that was accepted. Refused (409) if the job has not ended, or has no `callback_url`.
    """
    store = services().store
    job = store.jobs.get(job_id)
    (outcome,) = replay_deliveries([job.id])
    annotate(outcome=outcome.value)
    if outcome is ReplayOutcome.UNKNOWN:
        # Another producer's job has got the id since it was read.
        raise JobNotFound(job_id)
    if outcome is ReplayOutcome.NOTHING:
        raise ProblemError(
            409, "The job has not ended, or has no `callback_url` that is notified: there is nothing to send again."
        )
    return json_response(_replayed([outcome]) | {"cursor": None})


@operation(blueprint, "GET", "/receivers", {200: ReceiverList}, scope=Scope.READ, refusals=(503,))
def receivers() -> Response:
    """List the receivers of notifications.

    Each with its last success, since when it fails, and whether it is disabled. A receiver that was not called for 30
    days is not listed.
    """
    return json_response({"receivers": [serialize_receiver(each) for each in visible_receivers()]})


@operation(
    blueprint, "POST", "/receivers/<receiver>/enable", {200: ReceiverList}, scope=Scope.ENQUEUE, refusals=(404, 503)
)
def enable(receiver: str) -> Response:
    """Enable a receiver that was disabled, and close its circuit breaker.

    What was given up is not sent by itself: replay it.
    """
    owners = enable_receiver(receiver)
    found = [each for each in services().store.delivery_log.receivers(*owners) if each.name == receiver]
    return json_response({"receivers": [serialize_receiver(each) for each in found]})


def replay_deliveries(ids: Sequence[str]) -> Sequence[ReplayOutcome]:
    """Send notifications again. Raises a problem, 429, for more than the caller may send again in an hour."""
    if wait := services().replays.wait(REPLAYS, caller().name, amount=len(ids)):
        raise too_many(wait, f"A producer may have {REPLAYS.amount:,} deliveries sent again per {REPLAYS.every}.")
    return services().store.delivery_log.replay(ids, caller().owner)


def visible_receivers() -> list[ReceiverHealth]:
    """Return the receivers that the caller may see."""
    return services().store.delivery_log.receivers(*_owners())


def enable_receiver(receiver: str) -> list[str]:
    """Enable a receiver, and return the producers that notify it, of those the caller may see.

    Raises a problem, 404, if there are none.
    """
    log = services().store.delivery_log
    enabled = [owner for owner in _owners() if log.enable(owner, receiver) is EnableOutcome.ENABLED]
    if not enabled:
        raise ProblemError(404, f"No notification went to {receiver}. GET /v1/receivers lists those that got some.")
    return enabled


def replay_found(query: dict[str, Any]) -> tuple[Sequence[ReplayOutcome], str | None]:
    """Send the deliveries again that a loaded `ReplayQuery` finds. Returns the outcomes and the next cursor.

    Raises a problem: 422, or 429 for more than the caller may send again in an hour.
    """
    log = services().store.delivery_log
    if "host" in query:
        for owner in _owners():
            log.enable(owner, query["host"])
    found = find_deliveries(query)
    return replay_deliveries([each.id for each in found.notifications]), found.cursor


def find_deliveries(query: dict[str, Any]) -> NotificationPage:
    """Return the deliveries that a loaded `DeliveryQuery` finds, of those the caller may see.

    Raises a problem, 422.
    """
    states = [NotificationState(state) for state in query["state"]]
    where: dict[str, Any] = {name: query.get(name) for name in ("host", "since", "cursor", "limit")}
    try:
        return services().store.delivery_log.page(_owners(), states, **where)
    except ValueError:
        errors = {"cursor": ["is not a cursor of this API; pass the `cursor` of the previous page"]}
        raise ProblemError(422, "The query is not valid; `errors` names each parameter.", errors=errors) from None


def _owners() -> Sequence[str]:
    """Return the producers whose notifications the caller may see: an administrator those of all."""
    return services().store.statistics.owners() if caller().admin else [caller().name]


def _replayed(outcomes: Sequence[ReplayOutcome]) -> dict[str, int]:
    count = sum(outcome is ReplayOutcome.OWED for outcome in outcomes)
    return {"replayed": count, "skipped": len(outcomes) - count}
