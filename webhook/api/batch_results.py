"""/v1/batches/<id>/results and errors: the jobs of a batch as lines, streamed in chunks."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.failures import FailureClass
from jobs.job import Job
from jobs.links import Links
from jobs.review import Mark, Review
from jobs.serializers.jobs import warnings_of
from jobs.serializers.outputs import serialize_outputs
from jobs.states import State
from jobs.store.store import Store
from schemas.queries.batches import ResultsQuery
from schemas.views.jobs import JobView
from webhook.api.included import Views
from webhook.api.openapi import NDJSON, operation
from webhook.api.request_columns import RequestColumns
from webhook.http.connection import Direction
from webhook.http.csv_text import csv_text
from webhook.http.fair_pool import Place
from webhook.http.json_response import encode
from webhook.links import links
from webhook.places import interruptions
from webhook.services import services

blueprint = Blueprint("batch_results", __name__, url_prefix="/v1", description="Results of a batch.")

CSV = "text/csv"
COLUMNS = (
    "id",
    "status",
    "model",
    "cost",
    "output",
    "error_code",
    "error_message",
    "attempt",
    "external_task_id",
    "created_at",
    "finished_at",
    "settled_by",
    "labels",
    "warnings",
    "watermarked",
    "source",
    "saved_at",
    "sha256",
    "class",
    "revision",
    "provider_external_id",
)
#: After these, where reviews are included.
REVIEW_COLUMNS = ("verdicts", "starred", "notes")
_CSV_SCHEMA = {
    "type": "string",
    "description": f"RFC 4180. The columns, named in the first line: {', '.join(COLUMNS)}.",
    "example": "id,status,model,cost,output,…\r\norder-4711.front,completed,kirin_image_omni,0.0065,https://…\r\n",
}


@operation(
    blueprint,
    "GET",
    "/batches/<batch_id>/results",
    {200: JobView},
    scope=Scope.READ,
    query=ResultsQuery,
    content_type=NDJSON,
    other_forms={CSV: _CSV_SCHEMA},
    refusals=(404, 422, 503),
)
def results(query: dict[str, Any], batch_id: str) -> Response:
    """Get the jobs of a batch.

    One job per line, in input order: all jobs, or only those in the given states, whether they have ended or not. With
    `format=csv`, the first line names the columns; `output`, `source` and `watermarked` hold URLs, separated by spaces,
    and `labels` is JSON. With `include=request`, CSV has further columns: `prompt`, `labels.<name>` for each label and
    `metadata.<name>` for each text of metadata. Their names come from a sample of a batch of more than 1,000 jobs; such
    a table has a column `metadata`, too: JSON, with the texts of other names. With `include=reviews` or `review`,
    CSV has `verdicts` and `starred`, with a value for each output, and `notes`.
    If the connection breaks before the last chunk, ask again.
    """
    which = _Selection(
        batch_id,
        [State(status) for status in query["status"]],
        [FailureClass(each) for each in query["classes"]],
        query["include"] + (["reviews"] if query["review"] else []),
        [Mark(each) for each in query["review"]],
    )
    if query["format"] == "csv":
        return _stream(which, _csv, f"{CSV}; charset=utf-8")
    return _stream(which, _ndjson, NDJSON)


def table(batch_id: str, failure: FailureClass | None = None, *, as_csv: bool = True) -> Response:
    """Answer with the results of a batch as a file: all jobs, or the failed ones of a class with their requests."""
    which = _Selection(batch_id, (), [failure] if failure else (), ("request",) if failure else ("reviews",))
    return _stream(which, _csv, f"{CSV}; charset=utf-8") if as_csv else _stream(which, _ndjson, NDJSON)


@operation(
    blueprint,
    "GET",
    "/batches/<batch_id>/errors",
    {200: JobView},
    scope=Scope.READ,
    content_type=NDJSON,
    refusals=(404, 422, 503),
)
def errors(batch_id: str) -> Response:
    """Get the failed jobs of a batch.

    One job per line, in input order. `error` says why the job failed. Refused lines are not jobs: the answer to the
    upload lists them.
    """
    return _stream(_Selection(batch_id, [State.FAILED]), _ndjson, NDJSON)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Jobs of a batch, and what is added to their views."""

    batch_id: str
    states: Sequence[State] = ()
    classes: Sequence[FailureClass] = ()
    include: Collection[str] = ()
    marks: Sequence[Mark] = ()

    def parts(self, store: Store) -> Iterator[list[Job]]:
        """Yield the jobs in input order; an empty list where none of a chunk of jobs is wanted."""
        if not self.marks:
            return store.batches.members.parts(self.batch_id, self.states, self.classes)
        parts = store.reviews.parts(self.batch_id, self.marks, self.states, self.classes)
        return ([each.job for each in part] for part in parts)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A reading of jobs that ends between two chunks, when its place is lost or its client is gone."""

    which: _Selection
    views: Views
    check: Callable[[], None]

    def parts(self) -> Iterator[list[Job]]:
        """Yield the jobs in input order; an empty list where none of a chunk of jobs is wanted."""
        for jobs in self.which.parts(self.views.store):
            yield from self.views.parts(jobs) if jobs else ([],)
            self.check()

    def columns(self) -> RequestColumns | None:
        """Return the further columns, those of a sample of a large batch: its answer begins soon."""
        if "request" not in self.which.include:
            return None
        complete = True

        def sample() -> Iterator[Job]:
            nonlocal complete
            for jobs, complete in self.views.store.batches.members.sample(self.which.batch_id):  # noqa: B007
                yield from jobs

        found = RequestColumns.of(sample())
        return replace(found, complete=found.complete and complete)


def _stream(which: _Selection, form: Callable[[_Reading], Iterator[str]], content_type: str) -> Response:
    views = Views(services().store, links(), which.include)

    def stream(place: Place) -> Response:
        views.store.batches.get(which.batch_id)
        pieces = form(_Reading(which, views, interruptions(place)))
        first = next(pieces, "")  # a lost connection to Redis is an error before the stream begins
        return Response(chain((first,), pieces), content_type=content_type)

    return services().transfers.stream(stream, Direction.ANSWER)


def _ndjson(reading: _Reading) -> Iterator[str]:
    for part in reading.parts():
        yield "".join(f"{encode(view)}\n" for view in reading.views.of(part))


def _csv(reading: _Reading) -> Iterator[str]:
    more = reading.columns()
    of_reviews = REVIEW_COLUMNS if "reviews" in reading.which.include else ()
    yield csv_text([(*COLUMNS, *of_reviews, *(more.heading if more else ()))])
    for part in reading.parts():
        reviews = reading.views.reviews_of(part)
        yield csv_text(
            [
                (
                    *_row(job, reading.views.links),
                    *(_review_cells(job, reviews[job.id]) if of_reviews else ()),
                    *(more.cells(job) if more else ()),
                )
                for job in part
            ]
        )


def _review_cells(job: Job, reviews: Mapping[int, Review]) -> Sequence[str]:
    """Return the cells of REVIEW_COLUMNS, empty where nothing was reviewed."""
    if not reviews:
        return ("", "", "")
    outputs = [reviews.get(number) for number in range(len(job.result.output) if job.result else 0)]
    return (
        " ".join(each.verdict.value if each and each.verdict else "none" for each in outputs),
        " ".join("yes" if each and each.starred else "no" for each in outputs),
        "\n".join(each.note for each in reviews.values() if each.note),
    )


def _row(job: Job, addresses: Links) -> Sequence[str]:
    outputs = serialize_outputs(job, addresses)
    error = (job.result.error if job.result else None) or {}
    return (
        job.given_id,
        job.state.value,
        job.model,
        format(job.cost, "f") if job.cost is not None else "",
        " ".join(each["url"] for each in outputs),
        error.get("code", ""),
        error.get("message", ""),
        str(job.attempt),
        job.given_id,
        job.created_at.isoformat(),
        job.ended_at.isoformat() if job.ended_at else "",
        job.settled_by or "",
        json.dumps(dict(job.labels), ensure_ascii=False) if job.labels else "",
        "; ".join(each["message"] for each in warnings_of(job)),
        " ".join(each["watermark_url"] for each in outputs if "watermark_url" in each),
        " ".join(each["source_url"] for each in outputs),
        outputs[0]["saved_at"] or "" if outputs else "",
        " ".join(each["sha256"] for each in outputs if each["sha256"]),
        job.failure.value if job.failure else "",
        str(job.revision),
        job.external_task_id,
    )
