"""Query parameters of the operations on batches."""

from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.queries.parameters import (
    LabelPairs,
    ListQuery,
    batch_reference,
    dry_run,
    failure_classes,
    included,
    producer_name,
    review_marks,
)
from schemas.requests.base import PRIORITIES
from schemas.requests.validators import Options
from schemas.states import JOB_STATES

BATCH_STATES = ("running", "paused", "done")
MOST_WEIGHT = 100
#: Jobs of a pilot.
MOST_PILOT = 500
#: USD. The store counts costs in nano-dollars, in 64 bits.
LEAST_COST, MOST_COST = Decimal("0.000000001"), Decimal(1_000_000_000)
#: States that a batch's retry may name. The default is failed jobs only, since each attempt costs money.
RETRIED_STATES = ("failed", "expired", "cancelled")
#: A batch of the OpenAPI document's examples.
EXAMPLE_BATCH = "spring-catalogue"


def _most_cost(description: str) -> fields.Decimal:
    return fields.Decimal(
        places=9,
        as_string=True,
        validate=validate.Range(LEAST_COST, MOST_COST, error=f"must be from {LEAST_COST:f} to {MOST_COST:,f} USD"),
        error_messages={"invalid": "must be an amount of USD, such as 12.50", "special": "must be a finite amount"},
        metadata={"description": description},
    )


class BatchListQuery(ListQuery):
    """`GET /v1/batches`."""

    status = fields.String(
        validate=Options(BATCH_STATES),
        metadata={
            "description": "done: every job has ended. paused: on request, or at its max_cost. running: all others."
        },
    )
    producer = producer_name("Only batches of this producer.")


class BatchQuery(Schema):
    """Options of an upload. The first upload of a batch sets all but `id` and `on_error`."""

    id = fields.String(
        validate=batch_reference,
        metadata={
            "description": "Id of the batch. By default the service makes one. The same upload again adds nothing.",
            "example": EXAMPLE_BATCH,
        },
    )
    on_error = fields.String(
        validate=Options(("skip", "abort")),
        metadata={"description": "skip (the default): leave bad lines out. abort: accept all lines or none."},
    )
    label = LabelPairs(metadata={"description": "A label of the batch, as `name=value`. Repeatable."})
    priority = fields.String(
        validate=Options(PRIORITIES),
        metadata={
            "description": "Priority of those of its jobs that name none. Of your jobs, higher classes go first."
        },
    )
    weight = fields.Integer(
        validate=validate.Range(1, MOST_WEIGHT, error=f"must be from 1 to {MOST_WEIGHT}"),
        error_messages={"invalid": f"must be an integer from 1 to {MOST_WEIGHT}"},
        metadata={"description": "The batch's share, relative to other batches of the same producer. Default: 1."},
    )
    max_cost = _most_cost("Most that the batch may cost, in USD.")
    callback_url = fields.String(
        metadata={
            "description": "Where you are notified when all its jobs have ended, and when it is paused. The rules of a "
            "job's callback_url apply.",
            "example": "https://hooks.shop.example/batches",
        },
    )
    paused = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Submit none of its jobs until the batch is approved."},
    )
    pilot = fields.Integer(
        validate=validate.Range(1, MOST_PILOT, error=f"must be from 1 to {MOST_PILOT}"),
        error_messages={"invalid": f"must be an integer from 1 to {MOST_PILOT}"},
        metadata={
            "description": "Number of jobs, spread over the whole upload, that run at once. The others wait until the "
            "batch is approved. The pilot begins when the upload has ended, so send all lines in one request.",
            "example": 20,
        },
    )

    @validates_schema
    def _check_approval(self, data: dict[str, Any], **_: Any) -> None:
        if data["paused"] and "pilot" in data:
            raise ValidationError("is given beside paused=true. Leave one of them out", "pilot")


class QuoteQuery(BatchQuery):
    """`POST /v1/quote`."""

    images_later = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={
            "description": "References to images that are not stored are no mistake: the images are uploaded before "
            "the jobs are enqueued."
        },
    )


class UploadQuery(QuoteQuery):
    """`POST /v1/batches`."""

    dry_run = dry_run()


class BatchResumeQuery(Schema):
    """`POST /v1/batches/<id>/resume`."""

    max_cost = _most_cost("New limit of the batch's whole cost in USD, including what it has cost already.")


class ResultsQuery(Schema):
    """`GET /v1/batches/<id>/results`."""

    status = fields.List(
        fields.String(validate=Options(JOB_STATES)),
        load_default=list,
        metadata={"description": "Only jobs in these states. Repeatable."},
    )
    include = included()
    failure = failure_classes("Only failed jobs of these classes of failure.")
    review = review_marks("Only jobs with an output that has one of these marks.")
    format = fields.String(
        load_default="ndjson",
        validate=Options(("ndjson", "csv")),
        metadata={
            "description": "ndjson: one JSON object for each job, one per line. csv: the main columns, comma-separated."
        },
    )


class ImagesQuery(Schema):
    """`GET /v1/batches/<id>/images.zip`."""

    review = review_marks("Only images with one of these marks.")
    after = fields.String(
        validate=validate.Regexp(r"[0-9]{1,17}\Z", error="is no `after` of this API; more.txt in an archive has it"),
        metadata={"description": "Continue an archive that was full: `after` in its more.txt."},
    )


class BatchRetryQuery(Schema):
    """`POST /v1/batches/<id>/retry`."""

    status = fields.List(
        fields.String(validate=Options(RETRIED_STATES)),
        load_default=["failed"],
        metadata={"description": "Jobs in these states. Repeatable. Default: failed."},
    )
    code = fields.List(
        fields.String(validate=validate.Length(max=64, error="must have at most 64 characters")),
        load_default=list,
        metadata={"description": "Of the failed jobs, only those with these error codes. Repeatable. Default: all."},
    )
    failure = failure_classes(
        "Of the failed jobs, only those of these classes of failure; with `code`, of both. Default: all."
    )
    dry_run = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Only count the jobs, change nothing."},
    )
