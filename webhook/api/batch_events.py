"""/v1/batches/<id>/events: a batch's progress as server-sent events (WHATWG HTML).

A stream occupies a thread, so that the number of streams and their duration are limited.
"""

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import BatchNotFound, JobsError
from jobs.read_models import Batch
from jobs.serializers.batches import serialize_batch
from schemas.views.batches import BatchView
from webhook.access.auth import authenticator, caller
from webhook.api.openapi import operation
from webhook.http.fair_pool import Place
from webhook.http.json_response import encode
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("batch_events", __name__, url_prefix="/v1", description="Progress of a batch as events.")

EVENTS = "text/event-stream"
#: Seconds between two reads of the batch.
INTERVAL = 1.0
#: Seconds between two comments. Load balancers close connections that are silent for 60 s.
HEARTBEAT = 15.0
#: Seconds after which a stream ends, so that other callers get their turn. Clients reconnect by themselves.
MAX_DURATION = 900.0
#: Seconds until a client without a place connects again.
AGAIN = 5
#: Name and id of the last event. A client that has received it must not reconnect.
_DONE = "done"


@operation(
    blueprint,
    "GET",
    "/batches/<batch_id>/events",
    {200: BatchView},
    scope=Scope.READ,
    content_type=EVENTS,
    refusals=(404, 503),
)
def events(batch_id: str) -> Response:
    """Follow a batch.

    The answer is a stream of server-sent events; the data of each is the batch. A `progress` event comes at once, and
    then after each change, at most once per second. A `done` event ends the stream when all jobs have ended. Comments
    in between keep the connection open. A stream ends without `done` after 15 minutes, when its key is revoked, or when
    another producer needs its place: connect again, as an EventSource does by itself. If you have your share of the
    places, a client that accepts only this content type gets a stream with a `retry:` and no event, since an
    EventSource would give up after a 503.
    """
    shared = services()
    batch = shared.store.batches.get(batch_id)
    if batch.done and request.headers.get("Last-Event-ID") == _DONE:
        return Response(status=204)  # otherwise an EventSource reconnects
    reader, keys = caller(), authenticator()

    # A proxy that buffers (nginx) would hold the events back until the end.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

    def stream(place: Place) -> Response:
        def read() -> Batch:
            if place.lost or not keys.is_still_valid(reader):
                raise BatchNotFound(batch_id)
            return shared.store.batches.get(batch_id)

        return Response(progress(batch, read), content_type=EVENTS, headers=headers)

    try:
        return shared.events.stream(stream)
    except ProblemError as error:
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE or request.headers.get("Accept", "").strip() != EVENTS:
            raise
        return Response(_later(error), content_type=EVENTS, headers=headers)


def _later(error: ProblemError) -> str:
    """Return a stream without events after which an EventSource connects again, in the time of Retry-After."""
    seconds = int(error.headers.get("Retry-After", AGAIN))
    return f"retry: {seconds * 1000}\n: {error.detail}\n\n"


def progress(
    batch: Batch,
    read: Callable[[], Batch],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[str]:
    """Yield the events of a batch, beginning with its current progress. `read` reads the batch again."""
    end = clock() + MAX_DURATION
    sent, sent_at = None, clock()
    while not batch.done:
        state = (batch.accepted, dict(batch.counts), batch.cost, batch.paused, batch.reason)
        if state != sent:
            sent, sent_at = state, clock()
            yield _event("progress", batch)
        elif clock() - sent_at >= HEARTBEAT:
            sent_at = clock()
            yield ": still here\n\n"
        if clock() >= end:
            return
        sleep(INTERVAL)
        try:
            batch = read()
        except JobsError:
            return  # the client reconnects, and then gets the error
    yield f"id: {_DONE}\n{_event(_DONE, batch)}"


def _event(name: str, batch: Batch) -> str:
    return f"event: {name}\ndata: {encode(serialize_batch(batch))}\n\n"
