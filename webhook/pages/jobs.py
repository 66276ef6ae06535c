"""The page of jobs: every filter of the API in its address."""

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for
from marshmallow import ValidationError, fields
from werkzeug.datastructures import MultiDict

from jobs.api_keys import Scope
from jobs.bulk import BulkAction
from jobs.job import Job
from jobs.job_filter import JobFilter
from jobs.producer_ids import given_id, owner_in
from jobs.read_models import Count, Page
from schemas.queries.job_filter import CONDITIONS, SETTLED_BY, JobFilterSchema
from schemas.queries.jobs import JOB_CURSOR, LONGEST_SEARCH
from schemas.queries.parameters import page_cursor
from schemas.requests.base import PRIORITIES
from schemas.states import FAILURE_CLASSES, JOB_STATES
from webhook.api.job_filters import job_filter_from
from webhook.api.ownership import name_of, owner
from webhook.bulk import SCOPES
from webhook.pages.blueprint import page, page_url, show
from webhook.pages.formats import words
from webhook.pages.forms import errors_of
from webhook.services import services

#: Jobs on a page.
LIMIT = 50
#: Records that are checked to count the jobs of a filter for which there is no counter.
COUNTED = 2_000
#: Conditions that a form shows as one choice, and as times.
CHOICES = {"class": FAILURE_CLASSES, "settled_by": SETTLED_BY}
TIMES = ("created_after", "created_before", "finished_after", "finished_before")
_LISTS = frozenset(
    each.data_key or name for name, each in JobFilterSchema().fields.items() if isinstance(each, fields.List)
)


@page("/jobs", scope=Scope.READ)
def jobs() -> Response:
    """List the jobs that meet the filter in the address, with their number and what can be done with all of them."""
    asked, store = asked_in(request.args), services().store
    only, loaded, errors = load_filter(asked)
    cursor, wrong = _cursor()
    wanted = request.args.get("search", "").strip()
    found, count = Page((), None), Count(0, exact=True)
    if wanted:
        found = Page(_search(wanted), None)
        count = Count(len(found.jobs), exact=True)
    elif only is not None:
        found = store.jobs.page(only, cursor=cursor, limit=LIMIT)
        count = store.jobs.count(only, most=COUNTED)
    query = address_of(asked)
    return show(
        "jobs.html",
        part="jobs_now.html",
        found=found,
        count=count,
        asked=asked,
        times={name: f"{loaded[name]:%Y-%m-%dT%H:%M:%S}" for name in TIMES if name in loaded},
        errors=errors | wrong,
        is_filtered=bool(asked or wanted),
        wanted=wanted,
        choices={name: [("", "Any"), *((each, words(each)) for each in names)] for name, names in CHOICES.items()},
        states=JOB_STATES,
        chosen={state for text in asked.get("status", ()) for state in text.split(",")},
        named=name_of,
        given=given_id,
        job_address=_job_address,
        owner_of=_owner_of,
        first=url_for("pages.jobs", **query) if cursor else None,
        further=url_for("pages.jobs", **query, cursor=found.cursor) if found.cursor else None,
        actions=[(action.value, SCOPES[action].value) for action in BulkAction],
        priorities=PRIORITIES,
    )


def _search(wanted: str) -> tuple[Job, ...]:
    """Return the jobs that this text names: an id of theirs, of an attempt, or of the provider's task."""
    store = services().store
    matching = store.jobs.get_many(store.search.find(wanted[:LONGEST_SEARCH], owner()))
    return tuple(job for job in matching if job)


def asked_in(given: "MultiDict[str, str]") -> dict[str, Any]:
    """Return the conditions in the address, or in a form, that are not empty: lists where several values may be."""
    asked: dict[str, Any] = {}
    for name in CONDITIONS:
        values = [value for value in given.getlist(name) if value.strip()]
        if values:
            asked[name] = values if name in _LISTS else values[-1]
    return asked


def load_filter(asked: Mapping[str, Any]) -> tuple[JobFilter | None, Mapping[str, Any], dict[str, str]]:
    """Return the filter, its conditions as they were loaded, and what is wrong with them, by name.

    The filter is None where something is wrong, or where the caller may see no such job.
    """
    try:
        loaded = JobFilterSchema().load(asked)
    except ValidationError as error:
        return None, {}, errors_of(error)
    return job_filter_from(loaded), loaded, {}


def address_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions as parameters of an address of the page."""
    return {name: value if isinstance(value, list) else str(value) for name, value in asked.items()}


def _cursor() -> tuple[str | None, dict[str, str]]:
    given = request.args.get("cursor", "")
    if not given:
        return None, {}
    try:
        return str(page_cursor(JOB_CURSOR).deserialize(given)), {}
    except ValidationError as error:
        return None, {"cursor": str(error.messages[0])}


def _job_address(job: Job) -> str | None:
    """Return the address of a job's page; None while there is none."""
    return page_url("pages.job", job_id=name_of(job.id))


def _owner_of(job: Job) -> str:
    return owner_in(job.id) or job.owner
