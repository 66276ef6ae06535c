"""Boomerang as a Celery task, for services that share its broker. Nothing of the HTTP client is needed.

Needs Celery: `pip install './client[celery]'` in a checkout of Boomerang. What each of Celery's features means is in
the service's page docs/celery.md. Ids are made here, so that a message may be sent again: one id is one job.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

from boomerang_client.errors import UsageError
from boomerang_client.ids import new_id

try:
    from celery import Celery, Signature
    from celery.result import AsyncResult
except ImportError as error:
    raise ImportError("boomerang_client.celery wants Celery: pip install 'celery>=5.4,<6'") from error

TASK = "boomerang.generate"
#: The service's BOOMERANG_GENERATE_QUEUE, by default.
QUEUE = "celery"

Priority: TypeAlias = Literal["high", "normal", "low"]
Moment: TypeAlias = "datetime | float"
Links: TypeAlias = "Signature | Sequence[Signature]"


def generate(
    app: Celery,
    *,
    model: str,
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
    """Enqueue a job; `.get()` of the result returns it as the API shows it, `.id` is its id.

    `parameters` are the model's own (`n`, `aspect_ratio`, …). `countdown` (s) or `eta`: not admitted before; `expires`
    (s, or a time): revoked unless begun by then. Raises UsageError; what the service refuses comes out of `.get()`.
    """
    one = signature(
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
    return one.apply_async(**{name: value for name, value in options.items() if value is not None})


def signature(
    app: Celery,
    *,
    model: str,
    prompt: str | None = None,
    external_task_id: str | None = None,
    labels: Mapping[str, str] | None = None,
    priority: Priority | None = None,
    expires_in: float | None = None,
    queue: str = QUEUE,
    **parameters: Any,
) -> Signature:
    """The same, to be put into a chain, group or chord. It has its id from now on: sent twice, it is one job.

    Give tasks of your own that follow it their queue: `paint.s().set(queue="shop")`. Raises UsageError.
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
    given = {name: value for name, value in request.items() if value is not None}
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The request cannot be written as JSON: {error}. Use text, numbers, lists and objects; an image of this "
            "machine goes as base64 text, or is uploaded first (boomerang_client.Client)."
        ) from error
    return app.signature(TASK, kwargs=given, task_id=job_id, queue=queue, immutable=True)
