"""Each producer has its own jobs: another's are answered as if there were none (404, the same words).

Every address below which one job or one batch stands is checked here, before its view runs: whoever adds such a view
names the part of the address `job_id` or `batch_id`, and has nothing else to do.
"""

from flask import Flask, request

from jobs.errors import BatchNotFound, JobNotFound
from webhook.access.auth import caller
from webhook.services import services


def protect(app: Flask) -> None:
    """Check every request whose address names a job or a batch. After `webhook.access.auth.protect`."""

    @app.before_request
    def check() -> None:
        named = request.view_args or {}
        if "job_id" in named:
            check_job(named["job_id"])
        if "batch_id" in named:
            check_batch(named["batch_id"])


def check_job(job_id: str) -> None:
    """Raise `JobNotFound` for one that is not the caller's."""
    if not caller().admin and not caller().sees(services().store.jobs.owners([job_id])[0]):
        raise JobNotFound(job_id)


def check_batch(batch_id: str) -> None:
    """Raise `BatchNotFound` for one that is not the caller's."""
    if not caller().admin and not caller().sees(services().store.batches.owner(batch_id)):
        raise BatchNotFound(batch_id)


def owner() -> str | None:
    """Whose jobs the caller's lists hold; None: everybody's."""
    return None if caller().admin else caller().name
