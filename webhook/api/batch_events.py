"""/v1/batches/<id>/events: a batch's progress as it comes, as server-sent events (WHATWG HTML).

A stream holds a thread: there are few seats, and none is kept for ever.
"""

import time
from collections.abc import Callable, Iterator

from flask import Response, request
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.errors import BatchNotFound, JobsError
from jobs.read_models import Batch
from jobs.serializers import serialize_batch
from schemas.views import BatchView
from webhook.access.auth import caller, door
from webhook.api.openapi import operation
from webhook.http.json_response import encode
from webhook.services import services

blueprint = Blueprint("batch_events", __name__, url_prefix="/v1", description="A batch's progress, as it comes.")

EVENTS = "text/event-stream"
#: Seconds between two looks at the batch, and between two signs of life: below the 60 s after which balancers hang up.
LOOK = 1.0
HEARTBEAT = 15.0
#: Seconds after which a stream ends, so that its seat goes round; whoever still listens comes back by itself.
LONGEST = 900.0
#: What the last event is called, so that one who has seen it is told to stay away.
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

    Server-sent events whose data is the batch's view: `progress` at once, and then whenever its counts have changed, at
    most once a second; `done`, and the end, when all its jobs have ended. Comments in between show that the connection
    stands. A stream that ends without `done` (after 15 minutes at the latest, or with its key) is asked for again, as
    an EventSource does by itself.
    """
    shared = services()
    batch = shared.store.batches.get(batch_id)
    if batch.done and request.headers.get("Last-Event-ID") == _DONE:
        return Response(status=204)  # an EventSource comes back until it is told this
    seat = shared.events.one()
    seat.__enter__()
    who, keys = caller(), door()

    def look() -> Batch:
        if not keys.still_opens(who):
            raise BatchNotFound(batch_id)
        return shared.store.batches.get(batch_id)

    stream = Response(progress(batch, look), content_type=EVENTS)
    # Proxies that gather an answer up (nginx) would keep it until its end.
    stream.headers.update({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    stream.call_on_close(lambda: seat.__exit__(None, None, None))
    return stream


def progress(
    batch: Batch,
    look: Callable[[], Batch],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[str]:
    """The events of a batch, beginning with how it is; `look` reads it again."""
    end = clock() + LONGEST
    said, said_at = None, clock()
    while not batch.done:
        state = (batch.accepted, dict(batch.counts), batch.cost, batch.paused, batch.reason)
        if state != said:
            said, said_at = state, clock()
            yield _event("progress", batch)
        elif clock() - said_at >= HEARTBEAT:
            said_at = clock()
            yield ": still here\n\n"
        if clock() >= end:
            return
        sleep(LOOK)
        try:
            batch = look()
        except JobsError:
            return  # forgotten, or the store is away: whoever comes back is told which
    yield f"id: {_DONE}\n{_event(_DONE, batch)}"


def _event(name: str, batch: Batch) -> str:
    return f"event: {name}\ndata: {encode(serialize_batch(batch))}\n\n"
