"""/v1/bulk: one change of all jobs that meet a filter."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.bulk import Bulk, BulkAction
from jobs.job import Priority
from jobs.owners import ANYONE
from schemas.body import parse_json
from schemas.queries.batches import EXAMPLE_BATCH
from schemas.queries.bulk import BulkListQuery, BulkRequest
from schemas.requests.messages import paths
from schemas.views.bulk import BulkList, BulkView
from webhook.access.auth import caller
from webhook.api.batches import idempotency_key
from webhook.api.job_filters import job_filter_from
from webhook.api.openapi import JSON, examples, operation
from webhook.api.quotes import serialize_cost
from webhook.bulk import abort_bulk, begin_bulk, require_scope
from webhook.http.bodies import read_decoded
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("bulk", __name__, url_prefix="/v1", description="One change of all jobs that meet a filter.")

#: Bytes of a body.
_MOST_BODY = 64 * 1024
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "count_a_retry": {
        "action": "retry",
        "filter": {"batch": EXAMPLE_BATCH, "status": ["failed"], "class": ["moderation"]},
        "dry_run": True,
    },
    "change_the_priority": {"action": "priority", "filter": {"label": ["shop=rome"]}, "priority": "high"},
}


@operation(
    blueprint,
    "POST",
    "/bulk",
    {201: BulkView},
    scope=Scope.ENQUEUE,
    or_scope=((Scope.CANCEL,), "", "to cancel or pause"),
    request_body={"required": True, "content": {JSON: {"schema": BulkRequest, "examples": examples(_EXAMPLES)}}},
    refusals=(400, 409, 411, 413, 422, 503),
)
def begin() -> Response:
    """Change all jobs that meet a filter: cancel, retry, pause or resume them, or change their priority.

    The scope is that of the same action on one job, and so are the rules. A `retry` without `status` means failed jobs.

    The jobs are those that meet the filter when it begins: not those that are enqueued or fail later. A job that has
    changed since is left as it is where the filter names what changes (its status, class, lane, end or cost). Few jobs
    are changed before the answer; the service goes on with many by itself, some thousands a second: see
    `GET /v1/bulk/<id>`.

    With `dry_run`, nothing changes: the bulk action only counts the jobs and their expected cost, also step by step. Of
    a retry, look at that first, because each attempt costs money. With an `Idempotency-Key`, the same request again
    does not begin a second one.
    """
    asked, body = _read()
    action = BulkAction(body["action"])
    only = job_filter_from(body["filter"])
    if only is None:
        raise ProblemError(
            422, "You have no such batch or producer; nothing was changed.", errors={"filter": ["names none of yours"]}
        )
    found = begin_bulk(
        action,
        only,
        asked["filter"],
        priority=Priority(body["priority"]) if "priority" in body else None,
        dry_run=body["dry_run"],
        idempotency_key=idempotency_key(request.headers.get("Idempotency-Key")),
    )
    return json_response(serialize_bulk(found), 201, {"Location": url_for("bulk.show", bulk_id=found.id)})


@operation(blueprint, "GET", "/bulk", {200: BulkList}, scope=Scope.READ, query=BulkListQuery, refusals=(422, 503))
def page(query: dict[str, Any]) -> Response:
    """List your last bulk actions, newest first; an administrator sees those of all producers."""
    found = services().store.bulks.last(caller=caller().owner, limit=query["limit"])
    return json_response({"bulk": [serialize_bulk(each) for each in found]})


@operation(
    blueprint,
    "GET",
    "/bulk/<bulk_id>",
    {200: BulkView},
    scope=Scope.READ,
    or_scope=((Scope.ENQUEUE, Scope.CANCEL), "", "to see an action that it may begin"),
    refusals=(404, 503),
)
def show(bulk_id: str) -> Response:
    """Show a bulk action and its progress."""
    found = services().store.bulks.get(bulk_id, caller=caller().owner)
    if not caller().may(Scope.READ):
        require_scope(found.action)
    return json_response(serialize_bulk(found))


@operation(
    blueprint,
    "POST",
    "/bulk/<bulk_id>/abort",
    {200: BulkView},
    scope=Scope.ENQUEUE,
    or_scope=((Scope.CANCEL,), "", "to abort a cancel or a pause"),
    refusals=(404, 503),
)
def abort(bulk_id: str) -> Response:
    """Abort a bulk action.

    What it has changed stays. Requires the scope to begin it. A repeat changes nothing.
    """
    return json_response(serialize_bulk(abort_bulk(bulk_id)))


def serialize_bulk(bulk: Bulk) -> dict[str, Any]:
    """Return a bulk action as `schemas.views.bulk.BulkView` documents it."""
    return {
        "id": bulk.id,
        "action": bulk.action.value,
        "status": bulk.state.value,
        "dry_run": bulk.dry_run,
        "filter": dict(bulk.asked),
        "producer": None if bulk.owner == ANYONE else bulk.owner,
        "key": bulk.key,
        "affected": bulk.affected,
        "at_provider": bulk.at_provider,
        "skipped": {why.value: count for why, count in bulk.skipped.items()},
        "cost": serialize_cost(bulk.estimate),
        "progress": round(bulk.share, 4),
        "began_at": bulk.began_at.isoformat(),
        "finished_at": bulk.ended_at.isoformat() if bulk.ended_at else None,
    }


def _read() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the request in the body, as it was sent and as it was loaded. Raises a problem: 400, 403 or 422."""
    data = parse_json(read_decoded(request, _MOST_BODY, services().memory.for_body()))
    if not isinstance(data, dict):
        raise ProblemError(422, "The bulk action is not a JSON object; nothing was changed.")
    require_scope(data.get("action"))
    try:
        return data, BulkRequest().load(data)
    except ValidationError as error:
        raise ProblemError(
            422, "The bulk action is not valid; nothing was changed.", errors=paths(error.messages)
        ) from None
