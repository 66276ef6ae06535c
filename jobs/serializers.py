"""A job, a batch, a lane and spending as plain data: the members of the API's views, which schemas.views dumps.

And a job as a task of the gateway, for programs written for the generation API.
"""

from typing import Any

from jobs.job import Job, Result
from jobs.lanes import LaneSettings
from jobs.read_models import Batch, Lane
from jobs.states import State
from jobs.store.spending import Spend

#: The states of the gateway's task (provider contract, "Status").
RUNNING, COMPLETED, FAILED = "in_progress", "completed", "failed"
#: Ends of a job that the gateway does not have, with their messages. A client takes no such code for a failure that is
#: worth another attempt.
_OTHER_ENDS = {
    State.CANCELLED: "The job was cancelled.",
    State.EXPIRED: "The job was not over by its deadline. A result that still comes is shown here.",
}


def serialize_job(job: Job) -> dict[str, Any]:
    """Return the members of a job's view."""
    result = job.result
    priced = result is not None and (result.cost is not None or result.discount is not None)
    return {
        "id": job.id,
        "status": job.state.value,
        "model": job.model,
        "output": [dict(each) for each in result.output] if result else [],
        "error": result.error if result else None,
        "usage": {"cost": result.cost, "discount": result.discount} if result and priced else None,
        "attempt": job.attempt,
        "external_task_id": job.external_task_id,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "finished_at": job.finished_at,
        "settled_by": job.settled_by,
        "batch": job.batch,
        "labels": dict(job.labels),
        "priority": job.priority.value,
        "expires_at": job.expires_at,
        "lane": job.lane if job.sent else None,
        "reason": job.reason,
    }


def serialize_batch(batch: Batch) -> dict[str, Any]:
    """Return the members of a batch's view."""
    return {
        "id": batch.id,
        "accepted": batch.accepted,
        "counts": {state.value: count for state, count in batch.counts.items()},
        "done": batch.done,
        "errors": dict(batch.errors),
        "labels": dict(batch.labels),
        "priority": batch.priority.value,
        "weight": batch.weight,
        "max_cost": batch.max_cost,
        "paused": batch.paused,
        "rate": round(batch.rate, 3),
        "eta": None if batch.eta is None else round(batch.eta, 1),
        "reason": batch.reason,
        "cost": batch.cost,
        "expected_cost": batch.expected_cost,
        "created_at": batch.created_at,
    }


def serialize_spend(spend: Spend) -> dict[str, Any]:
    """Return the members of the spending view."""
    rows = [{"name": row.name, "cost": row.cost, "jobs": row.jobs} for row in spend.rows]
    return {"by": spend.by.value, "rows": rows, "cost": spend.cost, "jobs": spend.jobs}


def serialize_lane(lane: Lane) -> dict[str, Any]:
    """Return the members of a lane's view."""
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
        "max_cost_per_day": settings.max_cost_per_day,
        "window": lane.dispatched,
        "ready": lane.ready,
        "held": lane.held,
        "held_since": lane.held_since,
        "held_until": lane.held_until,
        "reason": lane.reason,
        "breaker": "open" if lane.open_since else "closed",
        "breaker_since": lane.open_since,
        "breaker_opened": lane.opened,
        "history": [
            {"at": each.at, "what": each.what, "limit": each.limit, "reason": each.reason} for each in lane.history
        ],
        "spent": lane.cost,
    }


def serialize_task(job: Job) -> dict[str, Any]:
    """Return the members of the gateway's task: one running task until the job ends, whatever its attempts.

    Money is text, "" where no price is known.
    """
    result = job.result or Result()
    task: dict[str, Any] = {"id": job.id, "status": RUNNING, "model": job.model}
    if not job.state.final:
        # The provider's own progress is not recorded; a client may still read the member.
        return task | {"progress": 0.0}
    cost = "" if result.cost is None else format(result.cost, "f")
    if job.state is State.COMPLETED:
        content = [dict(each) | ({"jobId": job.task_id} if job.task_id else {}) for each in result.output]
        usage = {"cost": cost, "discount": result.discount}
        return task | {"status": COMPLETED, "output": [{"content": content}], "usage": usage, "metadata": {}}
    return task | {"status": FAILED, "error": _task_error(job, result), "usage": {"cost": cost}}


def _task_error(job: Job, result: Result) -> dict[str, str]:
    error = result.error or {}
    code, message = error.get("code", ""), error.get("message", "")
    if job.state in _OTHER_ENDS:
        code, message = job.state.value, _OTHER_ENDS[job.state]
    message = message or job.reason or "The provider gave no reason."
    # One of the provider's pages names the text `message`, the other `error_message`.
    return {"code": code, "message": message, "error_message": message}
