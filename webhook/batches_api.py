"""/v1/batches: jobs by the thousand, in and out as lines of JSON, never whole in memory."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from flask import Response, request, url_for
from flask_smorest import Blueprint

from jobs.record import Job
from jobs.shown import shown_batch, shown_job
from schemas.api import BatchQuery
from schemas.views import BatchAccepted, BatchView, JobView
from webhook.bodies import decoded, drain, lines
from webhook.intake import new_id, upload
from webhook.messages import SUBMIT
from webhook.openapi import NDJSON, operation
from webhook.problems import ProblemError
from webhook.services import services
from webhook.views import answer, encode

blueprint = Blueprint("batches", __name__, url_prefix="/v1", description="Jobs that come together.")

#: Lines written to the socket at once.
_LINES = 100


@operation(
    blueprint, "POST", "/batches", {201: BatchAccepted}, query=BatchQuery, body=NDJSON, refusals=(400, 415, 422, 503)
)
def create(query: dict[str, Any]) -> Response:
    """Enqueue many jobs.

    Lines may come chunked, and gzipped (Content-Encoding). A bad line is listed, the others are taken in. A line
    without external_task_id becomes the job `<batch id>.<line number>`: the same upload again under the same `id` adds
    nothing, which is how an upload that broke off is repeated.
    """
    shared = services()
    batch = query.get("id") or new_id()
    limit = shared.settings.max_body
    try:
        with shared.streams.one():
            done = upload(
                shared.store,
                batch,
                lines(decoded(request), limit),
                limit=limit,
                allow_private_hosts=shared.settings.allow_private_hosts,
                on_wake=lambda: shared.send(SUBMIT),
            )
    except ProblemError:
        drain(request)
        raise
    count = shared.counters.jobs.labels
    count("created").inc(done.accepted)
    count("known").inc(done.known)
    count("refused").inc(done.rejected)
    return answer(done.view(), 201, {"Location": url_for("batches.show", batch_id=batch)})


@operation(blueprint, "GET", "/batches/<batch_id>", {200: BatchView}, refusals=(404, 503))
def show(batch_id: str) -> Response:
    """Show how far a batch is.

    `accepted` is the sum of `counts`.
    """
    return answer(shown_batch(services().store.batch(batch_id)))


@operation(blueprint, "GET", "/batches/<batch_id>/results", {200: JobView}, content_type=NDJSON, refusals=(404, 503))
def results(batch_id: str) -> Response:
    """Every job of a batch.

    A job a line, in input order, whatever its state. An answer that breaks off (the connection is cut before the last
    chunk) is asked for again.
    """
    shared = services()
    seat = shared.streams.one()
    seat.__enter__()
    try:
        jobs = shared.store.batch_jobs(batch_id)
        first = list(islice(jobs, 1))  # reads: an unknown batch or a store that is away is an answer of its own
        stream = Response(_ndjson(chain(first, jobs)), content_type=NDJSON)
    except BaseException:
        seat.__exit__(None, None, None)
        raise
    stream.call_on_close(lambda: seat.__exit__(None, None, None))
    return stream


def _ndjson(jobs: Iterable[Job]) -> Iterator[str]:
    remaining = iter(jobs)
    while some := list(islice(remaining, _LINES)):
        yield "".join(f"{encode(shown_job(job))}\n" for job in some)
