"""Boomerang as a Celery task, for services that share its broker. Does not use the HTTP client.

Needs Celery: `pip install './client[celery]'` in a checkout of Boomerang. The service's page docs/guides/celery.md
explains what each feature of Celery means here. Ids are generated here, so that a message may be sent again: one id is
one job.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from boomerang_client.choices import Model, Priority
from boomerang_client.errors import UsageError
from boomerang_client.ids import new_id

try:
    from celery import Celery, Signature
    from celery.result import AsyncResult
except ImportError as error:
    raise ImportError("boomerang_client.celery wants Celery: pip install 'celery>=5.4,<6'") from error

TASK = "boomerang.generate"
#: The default of the service's setting BOOMERANG_GENERATE_QUEUE.
QUEUE = "celery"

Moment: TypeAlias = "datetime | float"
Links: TypeAlias = "Signature | Sequence[Signature]"


def generate(
    app: Celery,
    *,
    model: Model,
    prompt: str | None = None,
    external_task_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    expires_in: float | None = None,
    countdown: float | None = None,
    eta: datetime | None = None,
    expires: "Moment | None" = None,
    link: "Links | None" = None,
    link_error: "Links | None" = None,
    queue: str = QUEUE,
    **parameters: Any,
) -> AsyncResult:
    """Enqueue a job. `.get()` of the result returns the job as the API does, `.id` is its id.

    `parameters` are those of the model (`n`, `aspect_ratio`, …). The job is not admitted before `countdown` (seconds)
    or `eta`. It is revoked if it has not begun by `expires` (seconds, or a time). Raises UsageError. A refusal of the
    service is raised by `.get()`.
    """
    job = signature(
        app,
        model=model,
        prompt=prompt,
        external_task_id=external_task_id,
        labels=labels,
        priority=priority,
        expires_in=expires_in,
        queue=queue,
        **parameters,
    )
    options = {"countdown": countdown, "eta": eta, "expires": expires, "link": link, "link_error": link_error}
    return job.apply_async(**{name: value for name, value in options.items() if value is not None})


def signature(
    app: Celery,
    *,
    model: Model,
    prompt: str | None = None,
    external_task_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    expires_in: float | None = None,
    queue: str = QUEUE,
    **parameters: Any,
) -> Signature:
    """Return the same job as a signature, for a chain, group or chord. Its id is fixed: sent twice, it is one job.

    Name the queue of your own tasks that follow it: `paint.s().set(queue="shop")`. Raises UsageError.
    """
    job_id = new_id() if external_task_id is None else external_task_id
    request = {
        "model": model,
        "prompt": prompt,
        "external_task_id": job_id,
        "labels": None if labels is None else dict(labels),
        "priority": priority,
        "expires_in": expires_in,
        **parameters,
    }
    present = {name: value for name, value in request.items() if value is not None}
    try:
        json.dumps(present, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The request cannot be written as JSON: {error}. Use text, numbers, lists and objects. Pass a local "
            "image as base64 text, or upload it first (boomerang_client.Client)."
        ) from error
    return app.signature(TASK, kwargs=present, task_id=job_id, queue=queue, immutable=True)
