"""/model/v1/generation: the provider's own contract, so that a program written for its API comes here unchanged.

Source of every shape: the provider contract, "Submit" and "Status". Its jobs are those of /v1/jobs.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import JobNotFound
from jobs.job import Job, parse_external_id
from jobs.new_job import NewJob, Outcome
from jobs.shown_task import RUNNING, serialize_task
from schemas import CallbackForm, RequestInvalid, parse_json
from schemas.provider_views import TaskAccepted, TaskRefused, TaskView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import JSON, operation
from webhook.api.ownership import check_job
from webhook.api.uploads import new_id
from webhook.http.bodies import checked_length, read_whole
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

PREFIX = "/model/v1"
blueprint = Blueprint(
    "generation", __name__, url_prefix=PREFIX, description="The same door as the provider's: its own contract."
)

#: Kling's codes for what the model pages have none for: the body cannot be read, a value is illegal, and so on.
MALFORMED, ILLEGAL, UNKNOWN, CONFLICT, FORBIDDEN = "1200", "1201", "1203", "1201", "1103"
_CODES: Mapping[int, str] = {
    401: "1000",
    403: FORBIDDEN,
    404: UNKNOWN,
    409: CONFLICT,
    422: ILLEGAL,
    429: "1303",
    500: "5000",
    503: "5001",
}
#: The provider answers so to a request that breaks rules.
_STATUS: Mapping[int, int] = {422: 400}
#: Mistakes that one message tells.
_MOST_TOLD = 10

_ENVELOPE: Mapping[str, Any] = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": {"type": "string"},
        "input": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["params"],
                "properties": {"params": {"type": "object", "description": "The request's parameters but `model`."}},
            },
        },
    },
}
_EITHER: Mapping[str, Any] = {"anyOf": [_ENVELOPE, {"$ref": "#/components/schemas/GenerationRequest"}]}


@operation(
    blueprint,
    "POST",
    "/generation",
    {200: TaskAccepted, **dict.fromkeys((400, 401, 403, 409, 411, 413, 429, 503), TaskRefused)},
    scope=Scope.ENQUEUE,
    body=JSON,
    body_schema=_EITHER,
)
def submit() -> Response:
    """Submit a task, as to the provider.

    The same request again under its external_task_id is answered with the same task; another request under it is a 409.
    While there is no room for new tasks the answer is 429, with a Retry-After.
    A callback_url is posted the task, in the form of the call below, when it has ended.
    """
    shared = services()
    length = checked_length(request, shared.settings.max_body)
    data = unwrapped(parse_json(read_whole(request, length)))
    wanted = replace(shared.load(data), callback_form=CallbackForm.TASK)
    job = NewJob.of(wanted, wanted.external_task_id or new_id(), shared.settings.lanes, owner=caller().name)
    outcome = shared.enqueue(job)
    annotate(job_id=job.id, outcome=outcome.value)
    if outcome is Outcome.CONFLICT:
        raise ProblemError(
            409,
            f"A task with external_task_id {job.id} exists already, of another request. "
            "Give this one another id, or send exactly the same request as before.",
        )
    # A new one is not read back: an answer that failed now would have a caller without an id buy another.
    created = time.time() if outcome is Outcome.CREATED else shared.store.jobs.get(job.id).created_at.timestamp()
    return json_response({"id": job.id, "status": RUNNING, "model": job.model, "created_at": int(created)})


@operation(
    blueprint,
    "GET",
    "/generation/task/<task_id>",
    {200: TaskView, **dict.fromkeys((401, 403, 404, 429, 503), TaskRefused)},
    scope=Scope.READ,
)
def show(task_id: str) -> Response:
    """Show a task, as the provider does.

    By the id that the submission answered, which is the external_task_id where one was given. The ids of single
    attempts (`<id>~2`) lead to the same task.
    """
    return json_response(serialize_task(_found(task_id)))


def _found(task_id: str) -> Job:
    parsed = parse_external_id(task_id)
    if parsed is not None:
        job_id, attempt = parsed
        try:
            check_job(job_id)
            job = services().store.jobs.get(job_id)
        except JobNotFound:
            pass
        else:
            if attempt <= job.attempt:
                return job
    raise ProblemError(404, f"Task {task_id} not found")


def unwrapped(data: object) -> object:
    """The flat request in `{"model": …, "input": [{"params": {…}}]}`; what is flat already, as it is.

    Raises `RequestInvalid` for an envelope that holds anything else: it would be left out without a word.
    """
    if not isinstance(data, dict) or "input" not in data:
        return data
    others = sorted(set(data) - {"model", "input"})
    if others:
        raise RequestInvalid({others[0]: ["is not known beside model and input; put parameters into params"]})
    match data["input"]:
        case [{"params": dict() as params, **rest}] if not rest and "model" not in params:
            return {**params, **{name: data[name] for name in ("model",) if name in data}}
    raise RequestInvalid({"input": ['must be a list of one object {"params": {…}}, with model outside of it']})


def refused(problem: ProblemError) -> Response:
    """An error as the gateway tells it; the code is the model pages' own for the mistakes that they name."""
    code = problem.codes[0] if problem.codes else _CODES.get(problem.status, MALFORMED)
    message = _told(problem)
    # One of the provider's pages names the text `message`, the other `error_message`; programs read either.
    body = {"error": {"code": code, "message": message, "error_message": message}}
    return json_response(body, _STATUS.get(problem.status, problem.status), problem.headers)


def _told(problem: ProblemError) -> str:
    if not problem.errors:
        return problem.detail
    told = [f"{field}: {'; '.join(texts)}" for field, texts in problem.errors.items()]
    left_off = len(told) - _MOST_TOLD
    return "; ".join(told[:_MOST_TOLD]) + (f"; and {left_off} more" if left_off > 0 else "")
