"""Serializer of a job as a task of the provider's API, for programs that speak its contract."""

from typing import Any

from jobs.job import Job
from jobs.links import Links
from jobs.result import Result
from jobs.serializers.outputs import serialize_for_provider
from jobs.serializers.values import money_text
from jobs.states import State

#: Status words of the provider's API.
RUNNING, COMPLETED, FAILED = "in_progress", "completed", "failed"
#: Messages for ends that the provider did not cause. Its API has no codes for them, so the state stands in for the
#: code: no program takes it for an error that is worth another attempt.
_ENDED_HERE = {
    State.CANCELLED: "The job was cancelled.",
    State.EXPIRED: "The job was not over by its deadline. A result that still comes appears here.",
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
    cost = money_text(result.cost) or ""
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
