"""/v1/jobs: enqueue, list, show and change single jobs."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.job import Job
from jobs.producer_ids import given_id
from jobs.read_models import Page
from jobs.serializers.jobs import serialize_job
from jobs.store.outcomes.jobs import RegenerateOutcome
from jobs.store.transitions import TransitionResult
from jobs.task_names import DELIVER, SUBMIT
from schemas.queries.jobs import EnqueueQuery, JobQuery, WaitQuery
from schemas.views.jobs import JobList, JobView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.correct import body_request, correct_body, has_body
from webhook.api.enqueue import enqueue_body
from webhook.api.included import Views
from webhook.api.job_filters import job_filter_from, serialize_count
from webhook.api.openapi import EXAMPLES_WITHOUT_ID, JSON, operation
from webhook.api.ownership import find_job, owner
from webhook.api.quotes import quote_job
from webhook.api.regenerate import regenerate as regenerate_job
from webhook.http.bodies import read_decoded
from webhook.http.json_response import json_response
from webhook.links import links
from webhook.services import services

blueprint = Blueprint("jobs", __name__, url_prefix="/v1", description="Single jobs.")

#: What the call answers to a job that is known, and with `dry_run`.
_JOB_OR_QUOTE = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("JobView", "QuoteView")]}


@operation(
    blueprint,
    "POST",
    "/jobs",
    {201: JobView, 200: _JOB_OR_QUOTE},
    scope=Scope.ENQUEUE,
    query=EnqueueQuery,
    body=JSON,
    refusals=(400, 409, 411, 413, 422, 503),
)
def create(query: dict[str, Any]) -> Response:
    """Enqueue a job.

    The answer is 201 for a new job, and 200 for a job that existed already with the same request. Both mean that the
    job is recorded and will not be lost. When the service is full, the answer is 429: send the same request
    again after the time in Retry-After. The body may be compressed with gzip (Content-Encoding).

    With `dry_run`, nothing is enqueued, and the answer is a quote, as `POST /v1/quote` gives it for one line; a request
    that would be refused is refused.
    """
    if query["dry_run"]:
        shared = services()
        memory = shared.memory.for_body()
        body = read_decoded(request, shared.settings.max_body, memory)
        return json_response(quote_job(shared, body, memory))
    given, job, created = enqueue_body()
    location = {"Location": url_for("jobs.show", job_id=given)}
    recorded = services().store.jobs.get(job.id if created else find_job(given))
    return json_response(serialize_job(recorded, links()), 201 if created else 200, location)


@operation(blueprint, "GET", "/jobs", {200: JobList}, scope=Scope.READ, query=JobQuery, refusals=(422, 503))
def page(query: dict[str, Any]) -> Response:
    """List jobs.

    Newest first; the jobs of a batch in input order. Pass `cursor` to get the next page. It is null on the last page,
    and stays valid while jobs change. A page may be short although more follow, and one with
    `include` ends after some megabytes. `label` means the labels of the job itself, not those of its batch.

    With `count`, the answer also says how many jobs meet the filter. Beyond some thousands, other than by state, batch
    or label alone, it says "at least so many".
    """
    store = services().store
    if "search" in query:
        matching = store.jobs.get_many(store.search.find(query["search"], owner()))
        views, _ = Views(store, links(), query["include"]).of_page(Page(tuple(each for each in matching if each), None))
        return json_response({"jobs": views, "cursor": None})
    only = job_filter_from(query)
    found = Page((), None) if only is None else store.jobs.page(only, cursor=query.get("cursor"), limit=query["limit"])
    views, cursor = Views(store, links(), query["include"]).of_page(found)
    counted = {"count": serialize_count(store, only)} if query["count"] else {}
    return json_response({"jobs": views, "cursor": cursor} | counted)


@operation(
    blueprint, "GET", "/jobs/<job_id>", {200: JobView}, scope=Scope.READ, query=WaitQuery, refusals=(404, 422, 503)
)
def show(query: dict[str, Any], job_id: str) -> Response:
    """Show a job, or wait until it has ended.

    With `wait`, the answer comes when the job has ended, but no later than after that many seconds. When too many
    callers wait already, or another producer needs the place, it comes at once, with a Retry-After.
    """
    shared = services()
    seconds, store, include = query["wait"], shared.store, query["include"]

    def answer(job: Job, headers: Mapping[str, str]) -> Response:
        return json_response(Views(store, links(), include).of([job])[0], headers=headers)

    if not seconds:
        return answer(store.jobs.show(job_id, text="request" in include), {})
    with shared.waits.try_enter() as place:
        if place:
            job = store.jobs.wait(job_id, seconds, lambda: place.lost)
            headers = {"Retry-After": "1"} if place.lost and not job.state.final else {}
            if "request" in include:
                job = replace(job, text=store.jobs.get_text(job_id))
            return answer(store.jobs.with_reason(job), headers)
    return answer(store.jobs.show(job_id, text="request" in include), {"Retry-After": "1"})


@operation(blueprint, "POST", "/jobs/<job_id>/cancel", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def cancel(job_id: str) -> Response:
    """Cancel a job.

    The provider goes on with a task that it has. Its result is recorded, and its cost counted.
    """
    return _changed(job_id, services().store.jobs.cancel(job_id, caller=caller().owner, by=caller().key))


@operation(blueprint, "POST", "/jobs/<job_id>/pause", {200: JobView}, scope=Scope.CANCEL, refusals=(404, 409, 503))
def pause(job_id: str) -> Response:
    """Pause a waiting job: it is not submitted until it is resumed.

    A job that the provider has already cannot be paused (409).
    """
    return _changed(job_id, services().store.jobs.pause(job_id, caller=caller().owner, by=caller().key))


@operation(blueprint, "POST", "/jobs/<job_id>/resume", {200: JobView}, scope=Scope.ENQUEUE, refusals=(404, 409, 503))
def resume(job_id: str) -> Response:
    """Resume a paused job at its old place in the queue."""
    return _changed(job_id, services().store.jobs.resume(job_id, caller=caller().owner, by=caller().key))


@operation(
    blueprint,
    "POST",
    "/jobs/<job_id>/retry",
    {200: JobView},
    scope=Scope.ENQUEUE,
    body=JSON,
    body_required=False,
    body_examples=EXAMPLES_WITHOUT_ID,
    refusals=(400, 404, 409, 411, 413, 422, 503),
)
def retry(job_id: str) -> Response:
    """Retry a job that ended without images, with the same request or a corrected one.

    The new attempt has a new external id. It is allowed only when the last attempt is known to have ended.

    With a body, the body is the request from now on: the job's next revision. All rules of an enqueue apply. The answer
    to a repeat is the same, and nothing is sent twice: a body equal to the present revision changes nothing, and an
    `Idempotency-Key` finds the revision that its first call made, also below later ones. To send the same request
    again, leave the body out. The job and its batch keep what earlier revisions cost.
    """
    if has_body(request):
        return _changed(job_id, correct_body(request, job_id))
    return _changed(job_id, services().store.jobs.retry(job_id, caller=caller().owner, by=caller().key))


@operation(
    blueprint,
    "POST",
    "/jobs/<job_id>/regenerate",
    {201: JobView, 200: JobView},
    scope=Scope.ENQUEUE,
    body=JSON,
    body_required=False,
    refusals=(400, 404, 409, 411, 413, 422, 503),
)
def regenerate(job_id: str) -> Response:
    """Generate the images of a completed job once more. It is paid for once more.

    The answer (201) is a new job in the same batch, whose `regenerates` names this one. This one keeps its images, its
    reviews and its cost, and its `regenerated_by` names the new one. The request is the same, or the one in the body,
    under the rules of an enqueue; its external_task_id may name the new job, which is else called `<id>.r2`.

    A job has one such successor. A repeat with the same request finds it (200), and buys nothing; with another request
    it is refused (409): regenerate the successor, or retry it if it failed.
    """
    made = regenerate_job(job_id, body_request(request) if has_body(request) else None)
    view = serialize_job(services().store.jobs.show(made.job), links())
    created = made.outcome is RegenerateOutcome.CREATED
    location = {"Location": url_for("jobs.show", job_id=given_id(made.job))}
    return json_response(view, 201 if created else 200, location)


def _changed(job_id: str, settled: TransitionResult[StrEnum]) -> Response:
    annotate(outcome=settled.outcome.value)
    shared = services()
    if settled.owed:
        shared.send(DELIVER, job_id)
    if settled.admit_hint:
        shared.send(SUBMIT)
    return json_response(serialize_job(shared.store.jobs.show(job_id), links()))
