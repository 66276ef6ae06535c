"""What our API takes, other than generation requests themselves, and how the OpenAPI document joins those."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from schemas.requests.base import MODELS
from schemas.requests.fields import Options, Pattern
from schemas.states import JOB_STATES

MAX_PAGE = 500
LONGEST_WAIT = 60

#: What can be tried again by hand. Those that were cancelled or have expired only on request: each attempt costs money.
RETRIED_STATES = ("failed", "expired", "cancelled")

#: A batch's id heads the ids of its lines, `<batch id>.<line number>`: it leaves room for a number of 28 digits.
BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
_batch_id = Pattern(BATCH_ID, "must begin with a letter or digit and have at most 100 of A-Z a-z 0-9 . _ : -")


class JobQuery(Schema):
    """`GET /v1/jobs`. Loads the text of a query string."""

    status = fields.String(validate=Options(JOB_STATES), metadata={"description": "Only jobs in this state."})
    batch = fields.String(validate=_batch_id, metadata={"description": "Only jobs of this batch."})
    cursor = fields.String(
        validate=validate.Length(min=1, max=256, error="is no cursor of ours; give back the one of the page before"),
        metadata={"description": "From the page before."},
    )
    limit = fields.Integer(
        load_default=100,
        validate=validate.Range(min=1, max=MAX_PAGE, error=f"must be from 1 to {MAX_PAGE}"),
        error_messages={"invalid": f"must be an integer from 1 to {MAX_PAGE}"},
        metadata={"description": "Jobs on a page."},
    )


class WaitQuery(Schema):
    """`GET /v1/jobs/<id>?wait=`: seconds to wait for the job's end, 0 to 60."""

    wait = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=LONGEST_WAIT, error=f"must be from 0 to {LONGEST_WAIT} seconds"),
        error_messages={"invalid": "must be a number of seconds", "special": "must be a finite number of seconds"},
        metadata={"description": "Answer when the job has ended, or after this many seconds."},
    )


class BatchQuery(Schema):
    """`POST /v1/batches?id=&on_error=`."""

    id = fields.String(
        validate=_batch_id,
        metadata={
            "description": "The batch's id, made for you if left out. The same upload under it again adds nothing."
        },
    )
    on_error = fields.String(
        validate=Options(("skip", "abort")),
        metadata={"description": "skip (the default): bad lines are left out. abort: all lines are taken in, or none."},
    )


class ResultsQuery(Schema):
    """`GET /v1/batches/<id>/results?status=&format=`; the first as often as needed."""

    status = fields.List(
        fields.String(validate=Options(JOB_STATES)),
        load_default=list,
        metadata={"description": "Only jobs in these states."},
    )
    format = fields.String(
        load_default="ndjson",
        validate=Options(("ndjson", "csv")),
        metadata={"description": "ndjson: a job's view a line. csv: the main columns, comma-separated."},
    )


class BatchRetryQuery(Schema):
    """`POST /v1/batches/<id>/retry?status=&code=&dry_run=`; the first two as often as needed."""

    status = fields.List(
        fields.String(validate=Options(RETRIED_STATES)),
        load_default=["failed"],
        metadata={"description": "Jobs in these states; left out, failed ones only."},
    )
    code = fields.List(
        fields.String(validate=validate.Length(max=64, error="must have at most 64 characters")),
        load_default=list,
        metadata={"description": "Of the failed ones, only those with these error codes; left out, all."},
    )
    dry_run = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Only count them."},
    )


def component_names() -> dict[str, type[Schema]]:
    """OpenAPI component name -> schema class, for every model that is registered."""
    return {schema.__name__: schema for schema in MODELS.values()}


def generation_request_openapi(prefix: str = "#/components/schemas/") -> Mapping[str, Any]:
    """The body of `POST /v1/jobs` for the OpenAPI document: one of the models' schemas, told apart by `model`.

    It refers to the components named by `component_names()`, which the caller registers.
    """
    mapping = {model: f"{prefix}{schema.__name__}" for model, schema in sorted(MODELS.items())}
    return {
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "model", "mapping": mapping},
    }
