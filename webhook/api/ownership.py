"""Producers see only their own jobs and batches: another producer's get the same 404 as those that do not exist.

A check before each view covers every path with a `job_id` or a `batch_id` in it, so that a new view needs no code.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask, request

from jobs.errors import BatchNotFound, JobNotFound
from jobs.store.pages import Filter
from webhook.access.auth import caller
from webhook.services import services


def protect(app: Flask) -> None:
    """Check every request whose path names a job or a batch. Call it after `webhook.access.auth.protect`."""

    @app.before_request
    def check() -> None:
        named = request.view_args or {}
        if "job_id" in named:
            check_job(named["job_id"])
        if "batch_id" in named:
            check_batch(named["batch_id"])


def check_job(job_id: str) -> None:
    """Raise `JobNotFound` unless the caller may see the job."""
    if not caller().admin and not caller().sees(services().store.jobs.owners([job_id])[0]):
        raise JobNotFound(job_id)


def check_batch(batch_id: str) -> None:
    """Raise `BatchNotFound` unless the caller may see the batch."""
    if not caller().admin and not caller().sees(services().store.batches.owner(batch_id)):
        raise BatchNotFound(batch_id)


def owner() -> str | None:
    """Return the owner whose jobs the caller may list, or None for an administrator, who may list all."""
    return None if caller().admin else caller().name


def filter_from(query: Mapping[str, Any]) -> Filter:
    """Return the filter of a list query (`schemas.queries.ListQuery`), limited to what the caller may see."""
    return Filter(
        labels=query["label"], since=query.get("created_after"), before=query.get("created_before"), owner=owner()
    )
