"""A job, a batch and the lane as plain data, in the shape that the API shows (schemas.views dumps them)."""

from typing import Any

from jobs.job import Job
from jobs.lanes import LaneSettings
from jobs.read_models import Batch, Lane
from jobs.store.spending import Spend


def serialize_job(job: Job) -> dict[str, Any]:
    """The members of a job's view."""
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
    """The members of a batch's view."""
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


def shown_spend(spend: Spend) -> dict[str, Any]:
    """The members of an answer about spending."""
    rows = [{"name": row.name, "cost": row.cost, "jobs": row.jobs} for row in spend.rows]
    return {"by": spend.by.value, "rows": rows, "cost": spend.cost, "jobs": spend.jobs}


def serialize_lane(lane: Lane) -> dict[str, Any]:
    """The members of a lane's view."""
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
