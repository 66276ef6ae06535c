"""Jobs, batches and the lane as the API shows them: plain dicts that JSON can take.

The marshmallow schemas of `schemas.views` document these shapes and tests hold them together; dumping through them
would cost more than all the rest of a line of results.
"""

from datetime import datetime
from typing import Any

from jobs.record import Batch, Job, Lane
from jobs.states import State
from schemas import GenerationRequest
from webhook.settings import Settings


def job_view(job: Job) -> dict[str, Any]:
    """One job, as `schemas.views.JobView`."""
    result = job.result
    priced = result is not None and (result.cost is not None or result.discount is not None)
    return {
        "id": job.id,
        "status": job.state.value,
        "model": job.model,
        "output": [dict(each) for each in result.output] if result else [],
        "error": dict(result.error) if result and result.error else None,
        "usage": {"cost": _money(result.cost), "discount": result.discount} if result and priced else None,
        "attempt": job.attempt,
        "external_task_id": job.external_task_id,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "finished_at": _when(job.finished_at),
        "settled_by": job.settled_by,
        "batch": job.batch,
        "labels": dict(GenerationRequest.from_text(job.text).labels) if job.text else {},
        "reason": job.reason,
    }


def batch_view(batch: Batch) -> dict[str, Any]:
    """One batch, as `schemas.views.BatchView`."""
    return {
        "id": batch.id,
        "accepted": batch.accepted,
        "counts": {state.value: batch.counts[state] for state in State},
        "done": batch.done,
        "cost": _money(batch.cost),
        "created_at": batch.created_at.isoformat(),
    }


def lane_view(lane: Lane, settings: Settings) -> dict[str, Any]:
    """The one lane, as `schemas.views.LaneView`."""
    return {
        "name": "main",
        "slots": lane.slots,
        "max_in_flight": settings.max_in_flight,
        "window": lane.window,
        "ready": lane.ready,
        "held": lane.held,
        "held_until": _when(lane.held_until),
        "reason": lane.reason,
        "spent": _money(lane.cost),
    }


def _when(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _money(amount: Any) -> str | None:
    return None if amount is None else format(amount, "f")
