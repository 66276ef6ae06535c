"""Correct the request of a job: the use case behind `POST /v1/jobs/<id>/retry` with a body."""

from dataclasses import replace

from flask import Request

from jobs.decoding import UNREADABLE
from jobs.job import Job
from jobs.new_job import BatchOptions, NewJob
from jobs.producer_ids import owner_in
from jobs.store.outcomes.jobs import ReviseOutcome
from jobs.store.transitions import TransitionResult
from schemas import CallbackForm, GenerationRequest, parse_json
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.http.bodies import read_decoded
from webhook.http.problems import ProblemError
from webhook.services import services

#: Characters.
_MAX_IDEMPOTENCY_KEY = 255


def has_body(request: Request) -> bool:
    """Return whether a request has a body, of known length or not."""
    return bool(request.content_length) or "Transfer-Encoding" in request.headers


def body_request(request: Request) -> GenerationRequest:
    """Return the generation request in a body. Raises what an enqueue raises."""
    return services().load(_data(request))


def _data(request: Request) -> object:
    shared = services()
    memory = shared.memory.for_body()
    data: object = parse_json(read_decoded(request, shared.settings.max_body, memory))
    memory.keep()
    return data


def correct_body(request: Request, job_id: str) -> TransitionResult[ReviseOutcome]:
    """Replace the request of a job by the one in the body, and queue the job again. Raises what `revise` raises."""
    return revise(_data(request), job_id, _idempotency_key(request))


def revise(data: object, job_id: str, key: str | None) -> TransitionResult[ReviseOutcome]:
    """Replace the request of a job by another one, and queue the job again. `key`: the call's Idempotency-Key.

    Raises what an enqueue raises; a problem, 422, for the external_task_id of another job; and `NotAllowed` where the
    job's state forbids it.
    """
    shared = services()
    job = shared.store.jobs.get(job_id, text=True)
    wanted = shared.load(data)
    if wanted.external_task_id not in (None, job.given_id):
        errors = {"external_task_id": [f"is not the id of this job, {job.given_id}; leave it out"]}
        raise ProblemError(422, "The request is that of another job.", errors=errors)
    options = shared.store.batches.options(job.batch) if job.batch else None
    annotate(job_id=job.id)
    revised = revise_job(job, request_for(job, wanted, job.id, options), key)
    annotate(outcome=revised.outcome.value)
    return revised


def revise_job(job: Job, new: NewJob, key: str | None) -> TransitionResult[ReviseOutcome]:
    """Replace the request of a job that was read by that of `new`, and queue it again. Raises as `revise`."""
    shared, owner = services(), owner_in(job.id) or job.owner
    room = shared.pressure.room(len(new.text), owner)
    revised = shared.store.revisions.revise(new, room=room, caller=caller().owner, key=key, by=caller().key)
    if revised.outcome is ReviseOutcome.FULL:
        raise shared.pressure.refused(owner=owner)
    if revised.outcome is ReviseOutcome.IMAGELESS:
        raise shared.imageless(new)
    return revised


def request_for(job: Job, wanted: GenerationRequest, job_id: str, options: BatchOptions | None) -> NewJob:
    """Return the job under an id that has a request in place of another job's: in its batch, for its owner.

    `options`: of its batch. Raises `NoLane`.
    """
    shared, owner = services(), owner_in(job.id) or job.owner
    return NewJob.of(
        replace(wanted, callback_form=_callback_form(job.text) or wanted.callback_form),
        job_id,
        shared.settings.lanes,
        owner=owner,
        batch_labels=options.labels if options else None,
        notify_unbegun=shared.store.context.settings.callback_hosts(owner) is not None,
    )


def _callback_form(text: str | None) -> CallbackForm | None:
    """Return the form of a job's notification, or None if its request cannot be read: a correction replaces that."""
    try:
        return GenerationRequest.from_text(text).callback_form if text else None
    except UNREADABLE:
        return None


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise ProblemError(422, f"The Idempotency-Key has {len(key)} characters. Send 1 to {_MAX_IDEMPOTENCY_KEY}.")
    return key
