"""A job as the provider would show its task: the gateway's own form, for programs written for the generation API.

Source: the provider contract, "Status". What a job goes through before and between attempts is one running task there.
"""

from typing import Any

from jobs.job import Job, Result
from jobs.states import State

RUNNING, COMPLETED, FAILED = "in_progress", "completed", "failed"
#: How a job ended that the provider never failed. Its pages have no code for this; a word cannot be taken for one that
#: is worth another attempt.
_OURS = {
    State.CANCELLED: "The job was cancelled.",
    State.EXPIRED: "The job was not over by its deadline. A result that still comes is shown here.",
}


def serialize_task(job: Job) -> dict[str, Any]:
    """The members of the gateway's task. Money is text, "" where no price is known."""
    result = job.result or Result()
    task: dict[str, Any] = {"id": job.id, "status": RUNNING, "model": job.model}
    if not job.state.final:
        # The provider's own progress is not recorded; a program may still ask for the member.
        return task | {"progress": 0.0}
    cost = "" if result.cost is None else format(result.cost, "f")
    if job.state is State.COMPLETED:
        content = [dict(each) | ({"jobId": job.task_id} if job.task_id else {}) for each in result.output]
        usage = {"cost": cost, "discount": result.discount}
        return task | {"status": COMPLETED, "output": [{"content": content}], "usage": usage, "metadata": {}}
    return task | {"status": FAILED, "error": _error(job, result), "usage": {"cost": cost}}


def _error(job: Job, result: Result) -> dict[str, str]:
    error = result.error or {}
    code, message = error.get("code", ""), error.get("message", "")
    if job.state in _OURS:
        code, message = job.state.value, _OURS[job.state]
    message = message or job.reason or "The provider gave no reason."
    # One of the provider's pages names the text `message`, the other `error_message`.
    return {"code": code, "message": message, "error_message": message}
