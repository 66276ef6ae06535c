"""Serializer of a stored request, in the form in which a producer can enqueue it again."""

import json
from typing import Any

from jobs.decoding import UNREADABLE
from jobs.job import Job

#: Members of a request that are stored beside its parameters.
_OWN_MEMBERS = ("labels", "metadata", "priority", "expires_in", "callback_url")


def read_request(job: Job, text: str) -> dict[str, Any] | None:
    """Return a stored request in the form in which it can be enqueued again; None if it cannot be read."""
    try:
        body = json.loads(text)
        params, model = dict(body["params"]), body["model"]
        own = {name: body[name] for name in _OWN_MEMBERS if name in body}
    except UNREADABLE:
        return None
    return {"model": model, **params, **own, "external_task_id": job.given_id}
