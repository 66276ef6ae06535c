"""/v1/batches: jobs by the thousand, in and out as lines of JSON, never whole in memory."""

import hashlib
from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.job import Priority
from jobs.new_job import BatchOptions
from jobs.read_models import Progress
from jobs.serializers import serialize_batch
from schemas.api import BatchListQuery, BatchQuery
from schemas.views import BatchAccepted, BatchList, BatchView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import NDJSON, operation
from webhook.api.uploads import Upload, new_id, upload, upload_whole
from webhook.http.bodies import decoded, drain, lines
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.lists import filter_from
from webhook.services import services

blueprint = Blueprint("batches", __name__, url_prefix="/v1", description="Jobs that come together.")

#: Characters of an Idempotency-Key.
_LONGEST_KEY = 255


@operation(
    blueprint,
    "POST",
    "/batches",
    {201: BatchAccepted},
    scope=Scope.ENQUEUE,
    query=BatchQuery,
    body=NDJSON,
    refusals=(400, 409, 415, 422, 503),
)
def create(query: dict[str, Any]) -> Response:
    """Enqueue many jobs.

    Lines may come chunked, and gzipped (Content-Encoding). A bad line is listed, the others are taken in. A line
    without external_task_id becomes the job `<batch id>.<line number>`: the same upload again under the same `id` adds
    nothing, which is how an upload that broke off is repeated. An `Idempotency-Key` header stands for an `id`. Another
    request in the place of such a line is refused (422). With `on_error=abort` a single bad line refuses all of them
    (422), and nothing is enqueued. While there is no room for more jobs the answer is 429: what was taken in is kept,
    and the same upload again, after Retry-After, goes on. `label`, `priority`, `weight` and `max_cost` hold from the
    batch's first upload on; later ones may leave them out, and others are refused (422).
    """
    shared = services()
    batch = _batch_id(query.get("id"), request.headers.get("Idempotency-Key"))
    take_in = upload_whole if query.get("on_error") == "abort" else upload
    done = Upload(batch, shared.imageless, *asked_for(query))
    try:
        with shared.streams.one():
            take_in(shared, done, lines(decoded(request), shared.settings.max_body))
    except ProblemError:
        drain(request)
        raise
    finally:
        annotate(batch_id=batch, accepted=done.accepted, known=done.known, rejected=done.rejected)
        count = shared.counters.jobs.labels
        count("created").inc(done.accepted)
        count("known").inc(done.known)
        count("refused").inc(done.rejected)
    return json_response(done.view(), 201, {"Location": url_for("batches.show", batch_id=batch)})


@operation(blueprint, "GET", "/batches", {200: BatchList}, scope=Scope.READ, query=BatchListQuery, refusals=(422, 503))
def page(query: dict[str, Any]) -> Response:
    """List batches.

    Newest first. A page may be short, even empty, although more follow: go by `cursor`, which stays good while batches
    come and end.
    """
    status = Progress(query["status"]) if "status" in query else None
    found = services().store.batches.page(
        status, only=filter_from(query), cursor=query.get("cursor"), limit=query["limit"]
    )
    return json_response({"batches": [serialize_batch(batch) for batch in found.batches], "cursor": found.cursor})


@operation(blueprint, "GET", "/batches/<batch_id>", {200: BatchView}, scope=Scope.READ, refusals=(404, 503))
def show(batch_id: str) -> Response:
    """Show how far a batch is.

    `accepted` is the sum of `counts`.
    """
    return json_response(serialize_batch(services().store.batches.get(batch_id)))


def asked_for(query: dict[str, Any]) -> tuple[BatchOptions, frozenset[str]]:
    """The options of a batch, and which of them were given."""
    given = frozenset(request.args) & {"label", "priority", "weight", "max_cost"}
    options = BatchOptions(
        owner=caller().name,
        labels=query["label"],
        priority=Priority(query["priority"]) if "priority" in query else None,
        weight=query.get("weight", 1),
        max_cost=query.get("max_cost"),
    )
    return options, given


def _batch_id(given: str | None, key: str | None) -> str:
    if key is None:
        return given or new_id()
    if given is not None:
        wrong = {"id": ["is given beside an Idempotency-Key; leave one of them out"]}
        raise ProblemError(422, "An Idempotency-Key names the batch.", errors=wrong)
    if not 0 < len(key) <= _LONGEST_KEY:
        raise ProblemError(422, f"An Idempotency-Key has 1 to {_LONGEST_KEY} characters.")
    # Any text is a key, but not any an id.
    return "key-" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
