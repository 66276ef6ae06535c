"""Serializers of jobs, as `schemas.views.jobs` documents them."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.job import Job
from jobs.links import Links
from jobs.producer_ids import given_id, owner_in
from jobs.review import Review
from jobs.revision import Revision
from jobs.serializers.outputs import serialize_outputs, serialize_saving
from jobs.serializers.requests import read_request
from jobs.serializers.reviews import serialize_review
from jobs.serializers.values import money_text, time_text
from jobs.timeline import timeline_of


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
        "usage": {"cost": money_text(result.cost), "discount": result.discount} if result and priced else None,
        "cost": money_text(job.cost),
        "class": job.failure and job.failure.value,
        "attempt": job.attempt,
        "revision": job.revision,
        "regenerates": job.regenerates and given_id(job.regenerates),
        "regenerated_by": job.regenerated_by and given_id(job.regenerated_by),
        "external_task_id": job.given_id,
        "provider_external_id": job.external_task_id,
        "created_at": job.created_at.isoformat(),
        "updated_at": job.updated_at.isoformat(),
        "finished_at": time_text(job.ended_at),
        "settled_by": job.settled_by,
        "batch": None if job.batch is None else given_id(job.batch),
        "owner": owner_in(job.id) or job.owner or None,
        "labels": dict(job.labels),
        "priority": job.priority.value,
        "expires_at": time_text(job.expires_at),
        "lane": job.lane if job.sent else None,
        "reason": job.reason and job.reason.replace(job.id, job.given_id),
        "unknown_cost": job.unknown_cost,
    }


def _revision(job: Job, revision: Revision, *, with_request: bool) -> dict[str, Any]:
    view = {
        "revision": revision.number,
        "status": revision.state.value,
        "error": _with_given_id(job, revision.error),
        "class": revision.failure and revision.failure.value,
        "cost": money_text(revision.cost),
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
