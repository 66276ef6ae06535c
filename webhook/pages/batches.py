"""The list of batches: how far each one is, what it costs, and why it waits."""

from collections.abc import Sequence
from typing import Any

from flask import Response, request, url_for
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.errors import BatchNotFound
from jobs.read_models import BatchPage
from jobs.states import State
from schemas.queries.batches import BATCH_STATES, BatchListQuery
from webhook.api.batches import list_batches
from webhook.api.ownership import find_batch, name_of
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import page, show
from webhook.pages.forms import errors_of
from webhook.services import services

#: Batches on a page, and batches that are checked for one: a list that updates itself must not search for long.
_MOST, _MOST_CHECKED = 25, 1_000
#: Labels of a batch that its row has; the others are on the batch's page.
MOST_LABELS = 4
#: Ends first: the bar fills from the left.
BAR = (
    State.COMPLETED,
    State.FAILED,
    State.EXPIRED,
    State.CANCELLED,
    State.IN_PROGRESS,
    State.IN_DOUBT,
    State.SUBMITTING,
    State.QUEUED,
)
_LIST_FIELDS = ("status", "label", "producer", "cursor")


@page("/batches", scope=Scope.READ)
def batches() -> Response:
    """List the newest batches that pass the filter, or the one with the id that was searched for."""
    wanted = request.args.get("id", "").strip()
    given = {name: texts for name in _LIST_FIELDS if (texts := [each for each in request.args.getlist(name) if each])}
    errors: dict[str, str] = {}
    found = BatchPage((), None)
    try:
        query = BatchListQuery().load({name: texts if name == "label" else texts[-1] for name, texts in given.items()})
        found = _search(wanted) if wanted else list_batches(query, limit=_MOST, most_checked=_MOST_CHECKED)
    except ValidationError as error:
        errors = errors_of(error)
    labels, producer = given.get("label", []), given.get("producer", [""])[-1]
    return show(
        "batches.html",
        part="batches_now.html",
        found=found,
        wanted=wanted,
        labels=labels,
        errors=errors,
        status=given.get("status", [""])[-1],
        states=_pills(labels, producer, given.get("status", [""])[-1]),
        producer=producer,
        filtered=bool(wanted or "status" in given or labels or producer),
        next_page=found.cursor and _address(**{**given, "cursor": found.cursor}),
        first_page=_address(**{**given, "cursor": None}) if "cursor" in given else None,
        bar=BAR,
        most_labels=MOST_LABELS,
        name_of=name_of,
        label_address=lambda name, value: _address(label=[f"{name}={value}"]),
    )


def _search(wanted: str) -> BatchPage:
    """Return the caller's batch of this id as the only one, or none. Raises ValidationError for an ambiguous id."""
    try:
        return BatchPage((services().store.batches.get(find_batch(wanted)),), None)
    except BatchNotFound:
        return BatchPage((), None)
    except ProblemError as problem:
        raise ValidationError({"id": [problem.detail]}) from problem


def _pills(labels: Sequence[str], producer: str, chosen: str) -> list[tuple[str, str, bool, None]]:
    return [
        (name.capitalize(), _address(label=labels, producer=producer, status=status), status == chosen, None)
        for name, status in (("all", ""), *((each, each) for each in BATCH_STATES))
    ]


def _address(**values: Any) -> str:
    return url_for("pages.batches", **{name: value for name, value in values.items() if value})
