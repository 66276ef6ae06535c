"""/v1/jobs: one job at a time."""

from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import BatchNotFound
from jobs.new_job import NewJob, Outcome
from jobs.read_models import Page
from jobs.serializers import serialize_job
from jobs.states import State
from jobs.store.transitions import TransitionResult
from schemas import parse_json
from schemas.api import JobQuery, WaitQuery
from schemas.views import JobList, JobView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import JSON, operation
from webhook.api.uploads import CONFLICT, new_id
from webhook.http.bodies import checked_length, read_whole
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.lists import filter_from
from webhook.messages import DELIVER, SUBMIT
from webhook.services import services

blueprint = Blueprint("jobs", __name__, url_prefix="/v1", description="Generation jobs, one at a time.")


@operation(
    blueprint,
    "POST",
    "/jobs",
    {201: JobView, 200: JobView},
    scope=Scope.ENQUEUE,
    body=JSON,
    refusals=(409, 411, 413, 422, 503),
)
def create() -> Response:
    """Enqueue a job.

    201 for a new one, 200 for one that existed already with the same request. Either means recorded: it is not lost.
    While there is no room for new jobs the answer is 429: send the same again after Retry-After.
    """
    shared = services()
    length = checked_length(request, shared.settings.max_body)
    data = parse_json(read_whole(request, length))
    wanted = shared.load(data)
    job = NewJob.of(wanted, wanted.external_task_id or new_id(), shared.settings.lanes, owner=caller().name)
    outcome = shared.enqueue(job)
    annotate(job_id=job.id, outcome=outcome.value)
    if outcome is Outcome.CONFLICT:
        raise ProblemError(
            409, "There is another request under this external_task_id.", errors={"external_task_id": [CONFLICT]}
        )
    status = 201 if outcome is Outcome.CREATED else 200
    location = {"Location": url_for("jobs.show", job_id=job.id)}
    return json_response(serialize_job(shared.store.jobs.get(job.id)), status, location)


@operation(blueprint, "GET", "/jobs", {200: JobList}, scope=Scope.READ, query=JobQuery, refusals=(422, 503))
def page(query: dict[str, Any]) -> Response:
    """List jobs.

    Newest first; those of a batch in its input order. A page by label or of a batch may be short although more follow:
    go by `cursor`, which stays good while jobs move. `label` is one of the job's own; its batch's find the batch.
    """
    found = _page(query)
    return json_response({"jobs": [serialize_job(job) for job in found.jobs], "cursor": found.cursor})


@operation(
    blueprint, "GET", "/jobs/<job_id>", {200: JobView}, scope=Scope.READ, query=WaitQuery, refusals=(404, 422, 503)
)
def show(query: dict[str, Any], job_id: str) -> Response:
    """Show a job, or wait for its end.

    With `wait` the answer comes when the job has ended, or after that many seconds with the job as it stands. Where too
    many wait already it comes at once, with a Retry-After.
    """
    shared = services()
    seconds, store = query["wait"], shared.store
    if not seconds:
        return json_response(serialize_job(store.jobs.with_reason(store.jobs.get(job_id))))
    with shared.waits.maybe() as seated:
        if seated:
            return json_response(serialize_job(store.jobs.with_reason(store.jobs.wait(job_id, seconds))))
    return json_response(serialize_job(store.jobs.with_reason(store.jobs.get(job_id))), headers={"Retry-After": "1"})


@operation(blueprint, "POST", "/jobs/<job_id>/cancel", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def cancel(job_id: str) -> Response:
    """Give up on a job.

    What the provider has begun goes on there; its late result is kept and accounted.
    """
    return _changed(job_id, services().store.jobs.cancel(job_id))


@operation(blueprint, "POST", "/jobs/<job_id>/pause", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def pause(job_id: str) -> Response:
    """Keep a waiting job from being sent, until it is resumed.

    At once. What the provider has already cannot be paused (409).
    """
    return _changed(job_id, services().store.jobs.pause(job_id))


@operation(blueprint, "POST", "/jobs/<job_id>/resume", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def resume(job_id: str) -> Response:
    """Let a paused job go on, at its old place."""
    return _changed(job_id, services().store.jobs.resume(job_id))


@operation(blueprint, "POST", "/jobs/<job_id>/retry", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def retry(job_id: str) -> Response:
    """Queue a job again that ended without pictures.

    It is a new attempt under a new external id, and only allowed once the one before is known to be over.
    """
    return _changed(job_id, services().store.jobs.retry(job_id))


def _page(query: dict[str, Any]) -> Page:
    state = State(query["status"]) if "status" in query else None
    where: dict[str, Any] = {"only": filter_from(query), "cursor": query.get("cursor"), "limit": query["limit"]}
    store = services().store
    if "batch" not in query:
        return store.jobs.page(state, **where)
    try:
        return store.batches.page_of_jobs(query["batch"], state, **where)
    except BatchNotFound:
        return Page((), None)  # a filter that matches nothing


def _changed(job_id: str, settled: TransitionResult) -> Response:
    shared = services()
    if settled.owed:
        shared.send(DELIVER, job_id)
    if settled.admit_hint:
        shared.send(SUBMIT)
    return json_response(serialize_job(shared.store.jobs.with_reason(shared.store.jobs.get(job_id))))
