"""Enqueue one job: the use case of the HTTP API and of the provider-compatible API."""

from collections.abc import Callable
from dataclasses import replace

from flask import request
from ulid import ULID

from jobs.new_job import NewJob, Outcome
from jobs.producer_ids import internal_id
from schemas import CallbackForm, parse_json
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.http.bodies import read_decoded
from webhook.http.problems import ProblemError
from webhook.services import services


def conflict(given: str) -> dict[str, list[str]]:
    """Return the error for an id that belongs to another request."""
    problem = "is taken by another request; use another id, or send exactly the same request as before"
    return {"external_task_id": [f"{given} {problem}"]}


def new_id() -> str:
    """Make an id for a job or batch that came without one: sorted by time, safe in a URL, hard to guess."""
    return str(ULID()).lower()


def enqueue_body(
    unwrap: Callable[[object], object] = lambda data: data, form: CallbackForm = CallbackForm.JOB
) -> tuple[str, NewJob, bool]:
    """Enqueue the generation request in the body of this HTTP request.

    `unwrap` takes the generation request out of the parsed body. `form` is what is posted to its `callback_url`.
    Returns the id that the producer gave or got, the job, and whether it is new. Raises a problem for a bad body, 409
    for another request under the same id, and 429 when the service is full.
    """
    shared = services()
    memory = shared.memory.for_body()
    data = unwrap(parse_json(read_decoded(request, shared.settings.max_body, memory)))
    memory.keep()
    wanted = replace(shared.load(data), callback_form=form)
    settings, owner = shared.settings, caller().name
    given = wanted.external_task_id or new_id()
    job = NewJob.of(
        wanted,
        internal_id(given, owner),
        settings.lanes,
        owner=owner,
        notify_unbegun=shared.callback_hosts() is not None,
    )
    outcome = shared.enqueue(job)
    annotate(job_id=job.id, outcome=outcome.value)
    if outcome is Outcome.CONFLICT:
        raise ProblemError(
            409,
            f"The external_task_id {given} belongs to another request.",
            errors=conflict(given),
        )
    return given, job, outcome is Outcome.CREATED
