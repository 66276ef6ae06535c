"""/v1/batches/<id>/pause, resume, cancel, retry: to all jobs of a batch at once."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.states import State
from jobs.store.batches import BatchActionResult
from schemas.api import BatchResumeQuery, BatchRetryQuery
from schemas.views import BatchChanged
from webhook.access.audit_log import annotate
from webhook.api.openapi import operation
from webhook.http.json_response import json_response
from webhook.messages import SUBMIT
from webhook.services import services

blueprint = Blueprint("batch_actions", __name__, url_prefix="/v1", description="What is done to a batch as a whole.")


@operation(blueprint, "POST", "/batches/<batch_id>/pause", {200: BatchChanged}, scope=Scope.CANCEL, refusals=(404, 503))
def pause(batch_id: str) -> Response:
    """Pause a batch.

    No more of it is submitted from now on; what the provider has begun goes on. `affected` are the jobs that wait.
    """
    return _acted(batch_id, services().store.batches.pause(batch_id))


@operation(
    blueprint,
    "POST",
    "/batches/<batch_id>/resume",
    {200: BatchChanged},
    scope=Scope.CANCEL,
    query=BatchResumeQuery,
    refusals=(404, 422, 503),
)
def resume(query: dict[str, Any], batch_id: str) -> Response:
    """Let a paused batch go on.

    Its jobs are at their old places. `affected` are those that waited; 0 where it was not paused. With `max_cost` it
    may cost so much from now on; one that is paused because its `max_cost` is reached pauses again unless it is raised.
    """
    return _acted(batch_id, services().store.batches.resume(batch_id, max_cost=query.get("max_cost")))


@operation(
    blueprint, "POST", "/batches/<batch_id>/cancel", {200: BatchChanged}, scope=Scope.CANCEL, refusals=(404, 503)
)
def cancel(batch_id: str) -> Response:
    """Give up on all unfinished jobs of a batch.

    No more of it is submitted from now on. `affected` are cancelled already, `pending` follow by themselves within
    seconds. What the provider has begun goes on there; late results are kept and accounted. It ends a pause.
    """
    return _acted(batch_id, services().store.batches.cancel(batch_id))


@operation(
    blueprint,
    "POST",
    "/batches/<batch_id>/retry",
    {200: BatchChanged},
    scope=Scope.CANCEL,
    query=BatchRetryQuery,
    refusals=(404, 409, 422, 503),
)
def retry(query: dict[str, Any], batch_id: str) -> Response:
    """Queue the failed jobs of a batch again.

    Each is a new attempt under a new external id; jobs that the provider may still be working on are left out.
    `affected` are queued already, `pending` at most follow by themselves. With `dry_run` nothing changes, and
    `affected` says how many there are.
    """
    states = [State(status) for status in query["status"]]
    acted = services().store.batches.retry(batch_id, states, query["code"], dry_run=query["dry_run"])
    return _acted(batch_id, acted)


def _acted(batch_id: str, acted: BatchActionResult) -> Response:
    shared = services()
    annotate(affected=acted.affected, pending=acted.pending)
    if acted.admit_hint:
        shared.send(SUBMIT)
    return json_response({"id": batch_id, "action": acted.action, "affected": acted.affected, "pending": acted.pending})
