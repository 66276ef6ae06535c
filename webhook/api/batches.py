"""/v1/batches: upload, list and show batches. Uploads are streamed, never whole in memory."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.job import Priority
from jobs.new_job import BatchOptions
from jobs.producer_ids import owner_in
from jobs.read_models import BatchPage, Progress
from jobs.serializers.batches import serialize_batch
from jobs.store.pages import SCAN
from schemas.queries.batches import BatchListQuery, QuoteQuery, UploadQuery
from schemas.views.batches import BatchAccepted, BatchList, BatchView
from schemas.views.quotes import QuoteView
from webhook.access.audit_log import annotate, leave_out_of_trail
from webhook.access.auth import caller
from webhook.api.enqueue import new_id
from webhook.api.openapi import NDJSON, operation
from webhook.api.ownership import batch_to_fill, filter_from
from webhook.api.quotes import Quote
from webhook.api.quotes import quote as make_quote
from webhook.api.upload_lines import NumberedLine
from webhook.api.upload_progress import Upload
from webhook.api.uploads import upload, upload_whole
from webhook.http.bodies import decoded, lines
from webhook.http.connection import Direction
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError, problem_from
from webhook.services import Services, services

blueprint = Blueprint("batches", __name__, url_prefix="/v1", description="Jobs that are enqueued together.")

#: Characters.
_MAX_IDEMPOTENCY_KEY = 255
_OPTIONS = frozenset({"label", "priority", "weight", "max_cost", "paused", "pilot", "callback_url"})
ReadLines = Callable[[Services], Iterator[NumberedLine]]
#: The same upload under the same id would be refused again.
_FINAL = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY})


@operation(
    blueprint,
    "POST",
    "/batches",
    {201: BatchAccepted, 200: QuoteView},
    scope=Scope.ENQUEUE,
    query=UploadQuery,
    body=NDJSON,
    refusals=(400, 409, 413, 415, 422, 503),
)
def create(query: dict[str, Any]) -> Response:
    """Enqueue a batch of jobs.

    Each line of the body is a generation request. The body may be chunked, and compressed with gzip
    (Content-Encoding). The service enqueues all valid lines and lists the refused ones. With `on_error=abort`, one bad
    line refuses the whole upload (422), and nothing is enqueued.

    A line without external_task_id becomes the job `<batch id>.<line number>`. To repeat an upload that broke off,
    send it again under the same `id`: lines that were enqueued before make no second job. An `Idempotency-Key` header
    can replace the `id`. An error midway has the `id`, also one that the service made, and the counts of what is
    enqueued: send the upload again under that `id`. A line that differs from the one before it under the same number is
    refused (422).

    When the service is full, the answer is 429: the service keeps what it has enqueued, and the same upload
    after the time in Retry-After continues it. The first upload of a batch sets `label`, `priority`, `weight`,
    `max_cost`, `paused`, `pilot` and `callback_url`. Later ones may leave them out, and are refused (422) if they
    differ.

    With `dry_run`, the answer is a quote (200), and nothing is enqueued.
    """
    if query["dry_run"]:
        return _quote(query)
    batch = batch_to_fill(_given_batch_id(query.get("id"), request.headers.get("Idempotency-Key")))
    done = enqueue_lines(batch, query, frozenset(request.args), _lines_of_body)
    return json_response(done.view(), 201, {"Location": url_for("batches.show", batch_id=done.given_id)})


def enqueue_lines(batch: str, query: dict[str, Any], given: Collection[str], read_lines: ReadLines) -> Upload:
    """Enqueue lines as a batch with the options of a `BatchQuery`, and return what became of them.

    `batch`: the service's id of it. `given`: names of the options that the caller gave. Raises a problem, which says
    what is enqueued and how to continue.
    """
    shared = services()
    store_lines = upload_whole if query.get("on_error") == "abort" else upload
    done = Upload(batch, shared.imageless, *options_from(query, owner_in(batch), given))
    try:
        with shared.transfers.enter(Direction.BODY):
            store_lines(shared, done, read_lines(shared))
    except Exception as error:
        problem = problem_from(error)
        _explain_continuation(problem, done, whole=store_lines is upload_whole)
        raise problem from error
    finally:
        annotate(batch_id=batch, accepted=done.accepted, known=done.known, rejected=done.rejected)
        count = shared.counters.jobs.labels
        count("created").inc(done.accepted)
        count("known").inc(done.known)
        count("refused").inc(done.rejected)
    return done


@operation(
    blueprint,
    "POST",
    "/quote",
    {200: QuoteView},
    scope=Scope.ENQUEUE,
    query=QuoteQuery,
    body=NDJSON,
    refusals=(400, 409, 413, 415, 422, 503),
)
def quote(query: dict[str, Any]) -> Response:
    """Check an upload and say what it would cost, without enqueueing anything.

    Takes what `POST /v1/batches` takes, and checks each line in the same way, against what is stored now. Answers with
    the counts by kind of job and by mistake, the expected cost with its base and spread, the expected duration, and
    what would stop or delay the jobs. Nothing is stored, not even images, and an id is not used up.
    """
    return _quote(query)


def _quote(query: dict[str, Any]) -> Response:
    batch = batch_to_fill(_given_batch_id(query.get("id"), request.headers.get("Idempotency-Key")))
    return json_response(quote_lines(batch, query, frozenset(request.args), _lines_of_body))


def quote_lines(batch: str, query: dict[str, Any], given: Collection[str], read_lines: ReadLines) -> dict[str, Any]:
    """Return what `enqueue_lines` would do with these lines, as `QuoteView` documents it. Nothing is enqueued.

    `query`: of a `QuoteQuery`.
    """
    shared = services()
    options, named = options_from(query, owner_in(batch), given)
    done = Quote(batch, shared.imageless, options, named, images_later=query["images_later"])
    whole = query.get("on_error") == "abort"
    with shared.transfers.enter(Direction.BODY):
        view = make_quote(shared, done, read_lines(shared), shared.memory.for_body(), whole=whole)
    leave_out_of_trail()
    annotate(dry_run="yes", accepted=done.accepted, known=done.known, rejected=done.rejected)
    return view


def _lines_of_body(shared: Services) -> Iterator[NumberedLine]:
    # `decoded` runs now, not with the first line: a wrong encoding is refused before the batch begins.
    return iter(lines(decoded(request), shared.settings.max_body, shared.memory.for_body()))


@operation(blueprint, "GET", "/batches", {200: BatchList}, scope=Scope.READ, query=BatchListQuery, refusals=(422, 503))
def page(query: dict[str, Any]) -> Response:
    """List batches.

    Newest first. Pass `cursor` to get the next page. It is null on the last page, and stays valid while batches change.
    A page may be short, or even empty, although more follow.
    """
    found = list_batches(query, limit=query["limit"])
    return json_response({"batches": [serialize_batch(batch) for batch in found.batches], "cursor": found.cursor})


def list_batches(query: Mapping[str, Any], *, limit: int, most_checked: int = SCAN) -> BatchPage:
    """Return a page of the batches that pass the filter of a `BatchListQuery`: the use case of the API and the page."""
    status, only = Progress(query["status"]) if "status" in query else None, filter_from(query)
    if only is None:
        return BatchPage((), None)
    return services().store.batches.page(
        status, only=only, cursor=query.get("cursor"), limit=limit, most_checked=most_checked
    )


@operation(blueprint, "GET", "/batches/<batch_id>", {200: BatchView}, scope=Scope.READ, refusals=(404, 503))
def show(batch_id: str) -> Response:
    """Show a batch and its progress."""
    return json_response(serialize_batch(services().store.batches.get(batch_id)))


def options_from(
    query: dict[str, Any], owner: str | None, given: Collection[str]
) -> tuple[BatchOptions, frozenset[str]]:
    """Return the options of a batch, and the names of those that the caller gave."""
    options = BatchOptions(
        owner=caller().name if owner is None else owner,
        labels=query["label"],
        priority=Priority(query["priority"]) if "priority" in query else None,
        weight=query.get("weight", 1),
        max_cost=query.get("max_cost"),
        paused=query["paused"],
        pilot=query.get("pilot"),
        callback_url=services().load_callback_url(query["callback_url"]) if "callback_url" in query else None,
        notify_unbegun=services().callback_hosts() is not None,
    )
    return options, _OPTIONS.intersection(given)


def _explain_continuation(problem: ProblemError, done: Upload, *, whole: bool) -> None:
    """Add to the problem what was enqueued, and the id under which the upload continues.

    Without the id, a producer who sent none would send the upload again as another batch, and pay twice.
    """
    counts = done.view()
    if problem.errors:
        del counts["errors"]
    problem.more = counts | problem.more
    advice = f"?id={done.given_id}"
    unsure = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if problem.status in _FINAL or advice in problem.detail or (whole and not unsure):
        return
    enqueued = f"{done.accepted + done.known:,} jobs of this upload are enqueued"
    problem.detail += (
        f" {'Jobs may have been enqueued' if whole else enqueued}: "
        f"send all of it again with {advice}, so that none is made twice."
    )


def idempotency_key(key: str | None) -> str | None:
    """Return the Idempotency-Key of a request; None without one. Raises a problem, 422, if it is too long or empty."""
    if key is not None and not 0 < len(key) <= _MAX_IDEMPOTENCY_KEY:
        raise ProblemError(422, f"The Idempotency-Key has {len(key)} characters. Send 1 to {_MAX_IDEMPOTENCY_KEY}.")
    return key


def _given_batch_id(given: str | None, key: str | None) -> str:
    if key is None:
        return given or new_id()
    if given is not None:
        errors = {"id": ["is given beside an Idempotency-Key. Leave one of them out"]}
        raise ProblemError(422, "Both `id` and an Idempotency-Key name the batch.", errors=errors)
    key = idempotency_key(key) or ""
    # A key may contain characters that an id may not.
    return "key-" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
