"""The filter of jobs that a query or a bulk action names, limited to what the caller may see."""

from collections.abc import Mapping
from typing import Any

from jobs.errors import BatchNotFound
from jobs.failures import FailureClass
from jobs.job_filter import JobFilter
from jobs.read_models import Count
from jobs.states import State
from jobs.store.store import Store
from webhook.access.auth import caller
from webhook.api.ownership import find_batch, owner


def job_filter_from(query: Mapping[str, Any]) -> JobFilter | None:
    """Return the filter that `schemas.job_filter.JobFilterSchema` loaded; None: the caller may see no job of it."""
    batch, producer = None, query.get("producer")
    if producer is not None and not caller().sees(producer):
        return None
    if "batch" in query:
        try:
            batch = find_batch(query["batch"])
        except BatchNotFound:
            return None
    return JobFilter(
        states=[State(each) for each in query["status"]],
        batch=batch,
        labels=query["label"],
        models=query["model"],
        lanes=query["lane"],
        classes=[FailureClass(each) for each in query["classes"]],
        codes=query["code"],
        settled_by=query["settled_by"],
        since=query.get("created_after"),
        before=query.get("created_before"),
        ended_since=query.get("finished_after"),
        ended_before=query.get("finished_before"),
        min_cost=query.get("min_cost"),
        max_cost=query.get("max_cost"),
        owner=owner() or producer,
    )


def serialize_count(store: Store, only: JobFilter | None) -> dict[str, Any]:
    """Return how many jobs meet a filter as `schemas.views.jobs.CountView` documents it."""
    found = Count(0, exact=True) if only is None else store.jobs.count(only)
    return {"jobs": found.jobs, "exact": found.exact}
