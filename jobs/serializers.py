"""Serializers of jobs, batches, lanes and spending into JSON data, for the HTTP API, notifications and Celery results.

`schemas.views` documents these shapes, and tests compare the two. marshmallow does not serialize them, because it would
take more time than everything else for a line of results. Times are ISO 8601, money is decimal text.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from jobs.decoding import UNREADABLE
from jobs.delivery_log import Notification, ReceiverHealth
from jobs.job import Job
from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneSettings
from jobs.limits import SCHEMAS, Overrides, Subject
from jobs.links import Links
from jobs.liveness import Pulse, Trouble
from jobs.producer_ids import given_id, owner_in
from jobs.read_models import Batch, Lane, Pilot
from jobs.result import Result
from jobs.review import LETTERS, Review
from jobs.revision import Revision
from jobs.serialized_outputs import serialize_for_provider, serialize_outputs, serialize_saving
from jobs.states import State
from jobs.store.spending import Row, Spend
from jobs.timeline import timeline_of

#: Status words of the provider's API.
RUNNING, COMPLETED, FAILED = "in_progress", "completed", "failed"
#: Messages for ends that the provider did not cause. Its API has no codes for them, so the state stands in for the
#: code: no program takes it for an error that is worth another attempt.
_ENDED_HERE = {
    State.CANCELLED: "The job was cancelled.",
    State.EXPIRED: "The job was not over by its deadline. A result that still comes appears here.",
}


def serialize_job(
    job: Job,
    links: Links,
    revisions: Sequence[Revision] | None = None,
    *,
    with_request: bool = False,
    reviews: Mapping[int, Review] | None = None,
) -> dict[str, Any]:
    """Return a job as `schemas.views.jobs.JobView` documents it.

    `with_request`: with its request, which must have been read (`Job.text`). `revisions`: the earlier ones.
    `reviews`: of its outputs.
    """
    view = _job(job, links)
    if with_request:
        view["request"] = read_request(job, job.text or "")
    if revisions is not None:
        view["revisions"] = [_revision(job, each, with_request=with_request) for each in revisions]
    if reviews is not None:
        view["reviews"] = [serialize_review(each) for each in reviews.values()]
    return view


def serialize_review(review: Review) -> dict[str, Any]:
    """Return the review of an output as `schemas.views.reviews.ReviewView` documents it."""
    return {
        "output": review.output,
        "verdict": review.verdict and review.verdict.value,
        "starred": review.starred,
        "note": review.note,
        "by": review.by,
        "at": review.at.isoformat(),
    }


def _job(job: Job, links: Links) -> dict[str, Any]:
    result = job.result
    priced = result is not None and (result.cost is not None or result.discount is not None)
    return {
        "id": job.given_id,
        "status": job.state.value,
        "model": job.model,
        "output": serialize_outputs(job, links),
        "saving": serialize_saving(job),
        "error": _with_given_id(job, result.error) if result else None,
        "warnings": warnings_of(job),
        "usage": {"cost": _money(result.cost), "discount": result.discount} if result and priced else None,
        "cost": _money(job.cost),
        "class": job.failure and job.failure.value,
        "attempt": job.attempt,
        "revision": job.revision,
        "regenerates": job.regenerates and given_id(job.regenerates),
        "regenerated_by": job.regenerated_by and given_id(job.regenerated_by),
        "external_task_id": job.given_id,
        "provider_external_id": job.external_task_id,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "finished_at": _time(job.ended_at),
        "settled_by": job.settled_by,
        "batch": None if job.batch is None else given_id(job.batch),
        "owner": owner_in(job.id) or job.owner or None,
        "labels": dict(job.labels),
        "priority": job.priority.value,
        "expires_at": _time(job.expires_at),
        "lane": job.lane if job.sent else None,
        "reason": job.reason and job.reason.replace(job.id, job.given_id),
        "unknown_cost": job.unknown_cost,
    }


def read_request(job: Job, text: str) -> dict[str, Any] | None:
    """Return a stored request in the form in which it can be enqueued again; None if it cannot be read."""
    try:
        body = json.loads(text)
        params, model = dict(body["params"]), body["model"]
        own = {name: body[name] for name in _OWN_MEMBERS if name in body}
    except UNREADABLE:
        return None
    return {"model": model, **params, **own, "external_task_id": job.given_id}


#: Members of a request that are stored beside its parameters.
_OWN_MEMBERS = ("labels", "metadata", "priority", "expires_in", "callback_url")


def _revision(job: Job, revision: Revision, *, with_request: bool) -> dict[str, Any]:
    view = {
        "revision": revision.number,
        "status": revision.state.value,
        "error": _with_given_id(job, revision.error),
        "class": revision.failure and revision.failure.value,
        "cost": _money(revision.cost),
        "first_attempt": revision.attempts[0],
        "last_attempt": revision.attempts[1],
        "finished_at": revision.ended_at.isoformat(),
        "corrected_at": revision.corrected_at.isoformat(),
    }
    if with_request:
        view["request"] = read_request(job, revision.text) or {}
    return view


def serialize_timeline(job: Job) -> list[dict[str, Any]]:
    """Return what happened to a job as `schemas.views.jobs.EventView` documents it, oldest first."""
    return [
        {"at": each.at.isoformat(), "event": each.event, "count": each.count, "by": each.by, "cause": each.cause}
        for each in timeline_of(job)
    ]


def _with_given_id(job: Job, error: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return an error with the id that the producer gave: the provider's text may name the one that it got."""
    return error and {name: text.replace(job.id, job.given_id) for name, text in error.items()}


def warnings_of(job: Job) -> list[dict[str, str]]:
    """Return what is wrong with a job although it has results: `{"code", "message"}` each."""
    result = job.result
    if not result or not result.output:
        return []
    warnings = [dict(_with_given_id(job, each) or {}) for each in result.warnings]
    if len(result.output) < job.n:
        message = f"{job.n} images were asked for, {len(result.output)} came"
        warnings.insert(0, {"code": "fewer_images", "message": message})
    return warnings


def serialize_batch(batch: Batch) -> dict[str, Any]:
    """Return a batch as `schemas.views.batches.BatchView` documents it."""
    return {
        "id": given_id(batch.id),
        "owner": batch.owner or None,
        "accepted": batch.accepted,
        "counts": {state.value: count for state, count in batch.counts.items()},
        "done": batch.done,
        "errors": dict(batch.errors),
        "classes": {failure.value: count for failure, count in batch.classes.items()},
        "labels": dict(batch.labels),
        "priority": batch.priority.value,
        "weight": batch.weight,
        "max_cost": _money(batch.max_cost),
        "paused": batch.paused,
        "awaits_approval": batch.awaits_approval,
        "pilot": _pilot(batch.pilot),
        "rate": round(batch.rate, 3),
        "eta": None if batch.eta is None else round(batch.eta, 1),
        "reason": batch.reason,
        "reviews": {mark.value: batch.reviews.get(mark, 0) for mark in LETTERS},
        "cost": _money(batch.cost),
        "unknown_costs": batch.unknown_costs,
        "expected_cost": _money(batch.expected_cost),
        "to_save": batch.to_save,
        "unsaved": batch.unsaved,
        "created_at": batch.created_at.isoformat(),
    }


def serialize_notification(notification: Notification) -> dict[str, Any]:
    """Return a notification as `schemas.views.deliveries.DeliveryView` documents it."""
    return {
        "job": notification.job,
        "batch": notification.batch,
        "owner": notification.owner or None,
        "event": notification.event,
        "state": notification.state.value,
        "changed_at": notification.changed_at.isoformat(),
        "attempts": [
            {
                "id": each.id,
                "at": each.at.isoformat(),
                "address": each.address,
                "status": each.status,
                "took": each.took,
                "error": each.error or None,
                "next_at": _time(each.next_at),
            }
            for each in notification.attempts
        ],
        "error": notification.error,
    }


def serialize_receiver(receiver: ReceiverHealth) -> dict[str, Any]:
    """Return a receiver of notifications as `schemas.views.deliveries.ReceiverView` documents it."""
    state = "failing" if receiver.failing_since else "healthy"
    return {
        "name": receiver.name,
        "owner": receiver.owner or None,
        "state": "disabled" if receiver.disabled_at else state,
        "accepted_at": _time(receiver.accepted_at),
        "failing_since": _time(receiver.failing_since),
        "failed_at": _time(receiver.failed_at),
        "failures": receiver.failures,
        "error": receiver.error or None,
        "retry_at": _time(receiver.open_until),
        "disabled_at": _time(receiver.disabled_at),
    }


def _pilot(pilot: Pilot | None) -> dict[str, Any] | None:
    if pilot is None:
        return None
    return {"jobs": pilot.jobs, "unfinished": pilot.unfinished, "cost": _money(pilot.cost)}


def serialize_spend(spend: Spend) -> dict[str, Any]:
    """Return an account of spending as `schemas.views.spending.SpendView` documents it."""
    rows = [{"name": row.name, **_spent(row)} for row in spend.rows]
    return {"by": spend.by.value, "rows": rows, **_spent(spend)}


def _spent(spent: Spend | Row) -> dict[str, Any]:
    return {"cost": _money(spent.cost), "jobs": spent.jobs, "unknown_costs": spent.unknown_costs}


def serialize_lane(lane: Lane) -> dict[str, Any]:
    """Return a lane as `schemas.views.lanes.LaneView` documents it."""
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
        "max_cost_per_day": _money(settings.max_cost_per_day),
        "window": lane.dispatched,
        "ready": lane.ready,
        "held": lane.held,
        "paused": lane.paused,
        "held_since": _time(lane.held_since),
        "held_until": _time(lane.held_until),
        "reason": lane.reason,
        "breaker": "open" if lane.open_since else "closed",
        "breaker_since": _time(lane.open_since),
        "breaker_opened": lane.opened,
        "history": [
            {"at": each.at.isoformat(), "what": each.what, "limit": each.limit, "reason": each.reason}
            for each in lane.history
        ],
        "spent": _money(lane.cost),
        "overrides": _overrides(Subject.LANE, lane.overrides, lane.configured or LaneSettings()),
    }


def serialize_key_limits(name: str, limits: KeyLimits, configured: KeyLimits, overrides: Overrides) -> dict[str, Any]:
    """Return the limits of a key as `schemas.views.limits.KeyLimitsView` documents them."""
    return {
        "name": name,
        **KeyLimitsSchema().dump(limits),
        "overrides": _overrides(Subject.KEY, overrides, configured),
    }


def _overrides(subject: Subject, overrides: Overrides, configured: LaneSettings | KeyLimits) -> list[dict[str, Any]]:
    schema = SCHEMAS[subject]()
    values, before = schema.dump({name: each.value for name, each in overrides.items()}), schema.dump(configured)
    return [
        {
            "name": name,
            "value": values[name],
            "configured": before[name],
            "since": each.at.isoformat(),
            "until": _time(each.until),
            "by": each.by,
            "reason": each.reason,
        }
        for name, each in sorted(overrides.items())
    ]


def serialize_liveness(pulse: Pulse | None, troubles: Sequence[Trouble]) -> dict[str, Any]:
    """Return the signs of life as `schemas.views.liveness` documents them. `pulse`: None where it cannot be read."""
    age = pulse.round_age if pulse else None
    return {
        "troubles": [
            {"code": each.code.value, "since": _time(each.since), "what": each.what, "do": each.do} for each in troubles
        ],
        "last_round_age": None if age is None else round(age, 1),
    }


def serialize_task(job: Job, links: Links) -> dict[str, Any]:
    """Return a job as a task of the provider's API (the provider contract, "Status").

    A job before, between and during attempts is a running task there. `cost` is "" if unknown.
    """
    result = job.result or Result()
    task: dict[str, Any] = {"id": job.given_id, "status": RUNNING, "model": job.model}
    if not job.state.final:
        # The store does not record the provider's progress, but a program may read the member.
        return task | {"progress": 0.0}
    cost = _money(result.cost) or ""
    if job.state is State.COMPLETED:
        content = [
            each | ({"jobId": job.task_id} if job.task_id else {}) for each in serialize_for_provider(job, links)
        ]
        usage = {"cost": cost, "discount": result.discount}
        return task | {"status": COMPLETED, "output": [{"content": content}], "usage": usage, "metadata": {}}
    return task | {"status": FAILED, "error": _task_error(job, result), "usage": {"cost": cost}}


def _task_error(job: Job, result: Result) -> dict[str, str]:
    error = result.error or {}
    code, message = error.get("code", ""), error.get("message", "")
    if job.state in _ENDED_HERE:
        code, message = job.state.value, _ENDED_HERE[job.state]
    message = (message or job.reason or "The provider gave no reason.").replace(job.id, job.given_id)
    # One page of the provider names the text `message`, the other `error_message`.
    return {"code": code, "message": message, "error_message": message}


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
