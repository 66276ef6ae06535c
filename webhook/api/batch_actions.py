"""/v1/batches/<id>/pause, resume, approve, cancel and retry: actions on all jobs of a batch."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.batch_action import BatchActionResult
from jobs.failures import FailureClass
from jobs.producer_ids import given_id
from jobs.states import State
from jobs.task_names import SUBMIT
from schemas.queries.batches import BatchResumeQuery, BatchRetryQuery
from schemas.views.batches import BatchChanged
from webhook.access.audit_log import annotate, leave_out_of_trail
from webhook.access.auth import caller, lacks
from webhook.api.openapi import operation
from webhook.http.json_response import json_response
from webhook.services import services

blueprint = Blueprint("batch_actions", __name__, url_prefix="/v1", description="Actions on all jobs of a batch.")


@operation(blueprint, "POST", "/batches/<batch_id>/pause", {200: BatchChanged}, scope=Scope.CANCEL, refusals=(404, 503))
def pause(batch_id: str) -> Response:
    """Pause a batch.

    The service submits no more of its jobs. The provider goes on with the tasks that it has. `affected` is the number
    of waiting jobs.
    """
    return _answer(batch_id, services().store.batches.pause(batch_id, caller=caller().owner))


@operation(
    blueprint,
    "POST",
    "/batches/<batch_id>/resume",
    {200: BatchChanged},
    scope=Scope.ENQUEUE,
    or_scope=((Scope.CANCEL,), "max_cost", "to lower the `max_cost` of a batch that is not paused"),
    query=BatchResumeQuery,
    refusals=(404, 409, 422, 503),
)
def resume(query: dict[str, Any], batch_id: str) -> Response:
    """Resume a paused batch.

    Its jobs keep their places in the queue. `affected` is the number of waiting jobs, or 0 if the batch was not paused.
    `max_cost` sets a new limit. A batch that reached its limit pauses again unless you raise it. A batch that waits for
    an approval goes on waiting; without a `max_cost`, the answer is 409.
    """
    batches, max_cost = services().store.batches, query.get("max_cost")
    if caller().may(Scope.ENQUEUE):
        return _answer(batch_id, batches.resume(batch_id, max_cost=max_cost, caller=caller().owner))
    lowered = None if max_cost is None else batches.lower_cap(batch_id, max_cost, caller=caller().owner)
    if lowered is None:
        raise lacks(Scope.ENQUEUE)
    return _answer(batch_id, lowered)


@operation(
    blueprint, "POST", "/batches/<batch_id>/approve", {200: BatchChanged}, scope=Scope.ENQUEUE, refusals=(404, 503)
)
def approve(batch_id: str) -> Response:
    """Approve a batch that waits for it, because it was uploaded with `paused` or `pilot`.

    Its jobs are submitted from now on, unless it is paused for another reason. `affected` is the number of waiting
    jobs, or 0 if the batch waits for no approval.
    """
    return _answer(batch_id, services().store.batches.approve(batch_id, caller=caller().owner))


@operation(
    blueprint, "POST", "/batches/<batch_id>/cancel", {200: BatchChanged}, scope=Scope.CANCEL, refusals=(404, 503)
)
def cancel(batch_id: str) -> Response:
    """Cancel all unfinished jobs of a batch.

    The service submits no more of its jobs. `affected` jobs are cancelled already; `pending` more follow within
    seconds. The provider goes on with the tasks that it has. Their results are recorded, and their costs counted. A
    pause of the batch ends.
    """
    return _answer(batch_id, services().store.batches.cancel(batch_id, caller=caller().owner, by=caller().key))


@operation(
    blueprint,
    "POST",
    "/batches/<batch_id>/retry",
    {200: BatchChanged},
    scope=Scope.ENQUEUE,
    query=BatchRetryQuery,
    refusals=(404, 409, 422, 503),
)
def retry(query: dict[str, Any], batch_id: str) -> Response:
    """Retry the failed jobs of a batch.

    Each new attempt has a new external id. Jobs that the provider may still work on are left out. `affected` jobs are
    queued already; at most `pending` more follow. With `dry_run`, nothing changes, and `affected` is the number of jobs
    that would be retried.
    """
    states = [State(status) for status in query["status"]]
    classes = [FailureClass(each) for each in query["classes"]]
    which: dict[str, Any] = {"classes": classes, "dry_run": query["dry_run"], "caller": caller().owner}
    which["by"] = caller().key
    if query["dry_run"]:
        leave_out_of_trail()
    return _answer(batch_id, services().store.batches.retry(batch_id, states, query["code"], **which))


def _answer(batch_id: str, result: BatchActionResult) -> Response:
    shared = services()
    annotate(affected=result.affected, pending=result.pending)
    if result.admit_hint:
        shared.send(SUBMIT)
    return json_response(
        {"id": given_id(batch_id), "action": result.action, "affected": result.affected, "pending": result.pending}
    )
