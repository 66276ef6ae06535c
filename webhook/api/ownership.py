"""Ids in requests: which producer's job or batch an id names, and whether the caller may see it.

Each producer has ids of its own (jobs.producer_ids). Another producer's jobs get the same 404 as those that do not
exist. A step before each view replaces every `job_id` and `batch_id` in a path by the service's own id, so that a new
view needs no code. Views answer with the id that the producer gave.

An administrator sees the jobs of all producers, and may add a producer's name to an id: `order-4711@shop`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, request

from jobs.errors import BatchNotFound, JobNotFound
from jobs.producer_ids import OWNER_MARK, given_id, internal_id, owner_in
from jobs.store.pages import Filter
from webhook.access.audit_log import leave_out_of_trail
from webhook.access.auth import caller
from webhook.http.problems import ProblemError
from webhook.services import services

#: (the id that a producer gave, the producer's name) → the service's id, or None.
Find = Callable[[str, str], str | None]


def protect(app: Flask) -> None:
    """Check every request whose path names a job or a batch. Call it after `webhook.access.protection.protect`."""

    @app.before_request
    def check() -> None:
        named = request.view_args or {}
        if "job_id" in named and not caller().by_link:  # a link has the service's own id
            named["job_id"] = find_job(named["job_id"])
        if "batch_id" in named:
            named["batch_id"] = find_batch(named["batch_id"])


def find_job(job_id: str) -> str:
    """Return the service's id of the job that the caller names. Raises `JobNotFound`, or a problem, 409."""
    found = _find(job_id, services().store.jobs.find, "job")
    if found is None and not caller().admin:
        raise JobNotFound(job_id)
    return found or job_id  # the view then finds that there is none


def find_batch(batch_id: str) -> str:
    """Return the service's id of the batch that the caller names. Raises `BatchNotFound`, or a problem, 409."""
    found = _find(batch_id, services().store.batches.find, "batch")
    if found is None and not caller().admin:
        raise BatchNotFound(batch_id)
    return found or batch_id  # the view then finds that there is none


def name_of(internal_id: str) -> str:
    """Return the id by which the caller names a job or batch: an administrator's names the producer, too."""
    return internal_id if caller().admin else given_id(internal_id)


def batch_to_fill(batch_id: str) -> str:
    """Return the service's id of the batch to which an upload adds: the caller's own, which need not exist yet.

    An administrator may name another producer's. Raises a problem, 422, for any other caller who does.
    """
    owner = owner_in(batch_id)
    if owner not in (None, caller().name) and not caller().admin:
        errors = {"id": [f"names another producer; leave out {OWNER_MARK}{owner}"]}
        raise ProblemError(422, "The query is not valid; `errors` names each parameter.", errors=errors)
    given, owner = given_id(batch_id), caller().name if owner is None else owner
    found = services().store.batches.find(given, owner)
    if found is not None:
        leave_out_of_trail()  # a batch has one entry, however many parts it is uploaded in
    return found or internal_id(given, owner)


def owner() -> str | None:
    """Return the owner whose jobs the caller may list, or None for an administrator, who may list all."""
    return None if caller().admin else caller().name


def filter_from(query: Mapping[str, Any]) -> Filter | None:
    """Return the filter of a `schemas.queries.batches.BatchListQuery`; None: the caller may see nothing of it."""
    producer: str | None = query.get("producer")
    if producer is not None and not caller().sees(producer):
        return None
    return Filter(
        labels=query["label"],
        since=query.get("created_after"),
        before=query.get("created_before"),
        owner=owner() or producer,
    )


def _find(named: str, find: Find, kind: str) -> str | None:
    """Find what the caller names: its own, or for an administrator the only one of that id. Raises a problem, 409."""
    given, owner = given_id(named), owner_in(named)
    if owner is not None:
        return find(given, owner) if caller().sees(owner) else None
    if (own := find(given, caller().name)) or not caller().admin:
        return own
    found = {owner: each for owner in services().store.statistics.owners() if (each := find(given, owner))}
    if len(found) <= 1:
        return next(iter(found.values()), None)
    ids = ", ".join(f"{given}{OWNER_MARK}{owner}" for owner in sorted(found))
    raise ProblemError(
        409,
        f"{len(found)} producers have a {kind} {given}. Add the producer's name to the id: {ids}.",
        errors={f"{kind}_id": [f"names {ids}"]},
    )
