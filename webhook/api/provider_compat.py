"""/model/v1/generation: the provider-compatible API, for programs that were written for the provider's.

It creates the same jobs as /v1/jobs. Source of every shape: the provider contract, "Submit" and "Status".
"""

import time
from collections.abc import Mapping
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.attempt_ids import parse_external_id
from jobs.errors import JobNotFound
from jobs.job import Job
from jobs.serializers.tasks import RUNNING, serialize_task
from schemas import CallbackForm, RequestInvalid
from schemas.views.problems import MEANINGS
from schemas.views.provider_compat import TaskAccepted, TaskRefused, TaskView
from webhook.api.enqueue import enqueue_body
from webhook.api.openapi import JSON, operation
from webhook.api.ownership import find_job
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.links import links
from webhook.services import services

PREFIX = "/model/v1"
blueprint = Blueprint("generation", __name__, url_prefix=PREFIX, description="The provider's own contract.")

#: Kling's codes, for errors that have no code on the model pages: an unreadable body, an illegal value, and so on.
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
#: The provider answers 400 to a request that breaks a rule.
_STATUS: Mapping[int, int] = {422: 400}
#: Largest number of errors in one message.
_MAX_ERRORS = 10

#: What the statuses mean in the provider's form of errors.
_MEANINGS: Mapping[int, str] = {
    **MEANINGS,
    400: "The request is not valid, or not complete. `error.message` names each field.",
    404: "There is no such task, or it belongs to another producer.",
    409: "The external_task_id belongs to another request. Or, for administrators: several producers have such a task.",
    413: "The body is too large. `error.message` names the limit.",
}

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
                "properties": {"params": {"type": "object", "description": "All parameters except `model`."}},
            },
        },
    },
}
_EITHER: Mapping[str, Any] = {"anyOf": [_ENVELOPE, {"$ref": "#/components/schemas/GenerationRequest"}]}


@operation(
    blueprint,
    "POST",
    "/generation",
    {200: TaskAccepted},
    scope=Scope.ENQUEUE,
    body=JSON,
    body_schema=_EITHER,
    refusals=(400, 409, 411, 413, 503),
    refusal=TaskRefused,
    meanings=_MEANINGS,
)
def submit() -> Response:
    """Submit a task, as at the provider.

    The same request again under its external_task_id returns the same task. Another request under that id is refused
    (409). When the service is full, the answer is 429, with a Retry-After. When the task has ended, the
    service posts it to the callback_url, in the form that the call below returns.
    """
    given, job, created = enqueue_body(unwrap, CallbackForm.TASK)
    # A new job is not read back: if that failed, a caller without an id of its own would send, and pay for, another.
    at = time.time() if created else services().store.jobs.get(find_job(given)).created_at.timestamp()
    return json_response({"id": given, "status": RUNNING, "model": job.model, "created_at": int(at)})


@operation(
    blueprint,
    "GET",
    "/generation/task/<task_id>",
    {200: TaskView},
    scope=Scope.READ,
    refusals=(404, 503),
    refusal=TaskRefused,
    meanings=_MEANINGS,
)
def show(task_id: str) -> Response:
    """Show a task, as the provider does.

    Its id is the external_task_id if one was given, and is in the answer to the submission. The ids of attempts
    (`<id>~2`) lead to the same task.
    """
    return json_response(serialize_task(_find(task_id), links()))


def _find(task_id: str) -> Job:
    parsed = parse_external_id(task_id)
    if parsed is not None:
        job_id, attempt = parsed
        try:
            job = services().store.jobs.get(find_job(job_id))
        except JobNotFound:
            pass
        else:
            if attempt <= job.attempt:
                return job
    raise ProblemError(404, f"Task {task_id} not found")


def unwrap(data: object) -> object:
    """Return the flat request in `{"model": …, "input": [{"params": {…}}]}`; a flat request is returned unchanged.

    Raises `RequestInvalid` for any other member beside them, which would get lost.
    """
    if not isinstance(data, dict) or "input" not in data:
        return data
    others = sorted(set(data) - {"model", "input"})
    if others:
        raise RequestInvalid({others[0]: ["is not allowed beside model and input; move parameters into params"]})
    match data["input"]:
        case [{"params": dict() as params, **rest}] if not rest and "model" not in params:
            return {**params, **{name: data[name] for name in ("model",) if name in data}}
    raise RequestInvalid({"input": ['must be a list of one object {"params": {…}}, without model in it']})


def is_asked() -> bool:
    """Return whether this request is for the provider's contract."""
    return request.path.startswith(PREFIX)


def refused(problem: ProblemError) -> Response:
    """Return an error in the gateway's form. The code is that of the model pages, if they have one for the error."""
    code = problem.codes[0] if problem.codes else _CODES.get(problem.status, MALFORMED)
    message = _message(problem)
    # One page of the provider names the text `message`, the other `error_message`. Programs read either.
    body = {"error": {"code": code, "message": message, "error_message": message}}
    return json_response(body, _STATUS.get(problem.status, problem.status), problem.headers)


def _message(problem: ProblemError) -> str:
    if not isinstance(problem.errors, Mapping) or not problem.errors:
        return problem.detail
    messages = [f"{field}: {'; '.join(texts)}" for field, texts in problem.errors.items()]
    omitted = len(messages) - _MAX_ERRORS
    return "; ".join(messages[:_MAX_ERRORS]) + (f"; and {omitted} more" if omitted > 0 else "")
