"""What our API takes, other than generation requests themselves, and how the OpenAPI document joins those."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from schemas.error_text import shown
from schemas.requests.base import MODELS, PRIORITIES
from schemas.requests.fields import Labels, Options, Pattern, paths
from schemas.states import JOB_STATES

MAX_PAGE = 500
#: Where a batch stands as a whole.
BATCH_STATES = ("running", "paused", "done")
MOST_WEIGHT = 100
#: USD. Costs are counted in whole nano-dollars, in 64 bits.
LEAST_COST, MOST_COST = Decimal("0.000000001"), Decimal(1_000_000_000)
LONGEST_WAIT = 60

#: What can be tried again by hand. Those that were cancelled or have expired only on request: each attempt costs money.
RETRIED_STATES = ("failed", "expired", "cancelled")

#: A batch's id heads the ids of its lines, `<batch id>.<line number>`: it leaves room for a number of 28 digits.
BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
_batch_id = Pattern(BATCH_ID, "must begin with a letter or digit and have at most 100 of A-Z a-z 0-9 . _ : -")


def _most_cost(description: str) -> fields.Decimal:
    return fields.Decimal(
        places=9,
        as_string=True,
        validate=validate.Range(LEAST_COST, MOST_COST, error=f"must be from {LEAST_COST:f} to {MOST_COST:,f} USD"),
        error_messages={"invalid": "must be an amount of USD, such as 12.50", "special": "must be a finite amount"},
        metadata={"description": description},
    )


class LabelPairs(fields.List[Any]):
    """`label=<name>=<value>`, as often as needed, as a mapping; held to the rules of a job's labels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(), load_default=dict, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        labels: dict[str, str] = {}
        problems = []
        for text in map(str, super()._deserialize(value, *args, **kwargs)):
            name, sign, rest = text.partition("=")
            if not sign:
                problems.append(f"must be <name>=<value>, not {shown(text)}")
            elif labels.setdefault(name, rest) != rest:
                problems.append(f"gives {shown(name)} two values; leave one of them out")
        try:
            Labels().deserialize(labels)
        except ValidationError as error:
            said = paths(error.messages)
            problems += [
                f"{name}: {'; '.join(texts)}" if name != "request" else texts[0] for name, texts in said.items()
            ]
        if problems:
            raise ValidationError(problems)
        return labels


class Moment(fields.AwareDateTime):
    """A time or day in ISO 8601; without an offset it is UTC."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError(
                f"must be ISO 8601, such as 2026-01-31T12:00:00Z (a + is written %2B here), not {shown(value)}"
            ) from None
        return moment


class ListQuery(Schema):
    """What every list takes. Loads the text of a query string."""

    label = LabelPairs(
        metadata={"description": "Only those with this label of their own, `name=value`; with several, with all."}
    )
    created_after = Moment(metadata={"description": "Only those created at this time or later."})
    created_before = Moment(metadata={"description": "Only those created before this time."})
    cursor = fields.String(
        validate=validate.Regexp(r"[0-9]{1,17}\Z", error="is no cursor of ours; give back the one of the page before"),
        metadata={"description": "From the page before."},
    )
    limit = fields.Integer(
        load_default=100,
        validate=validate.Range(min=1, max=MAX_PAGE, error=f"must be from 1 to {MAX_PAGE}"),
        error_messages={"invalid": f"must be an integer from 1 to {MAX_PAGE}"},
        metadata={"description": "Most of them on a page."},
    )


class JobQuery(ListQuery):
    """`GET /v1/jobs`."""

    status = fields.String(validate=Options(JOB_STATES), metadata={"description": "Only jobs in this state."})
    batch = fields.String(validate=_batch_id, metadata={"description": "Only jobs of this batch."})


class BatchListQuery(ListQuery):
    """`GET /v1/batches`."""

    status = fields.String(
        validate=Options(BATCH_STATES),
        metadata={"description": "done: all its jobs have ended. paused: on request. running: any other."},
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
    """`POST /v1/batches`. What is beside `id` and `on_error` holds from the batch's first upload on."""

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
    label = LabelPairs(metadata={"description": "Your own mark on the batch, `name=value`."})
    priority = fields.String(
        validate=Options(PRIORITIES),
        metadata={"description": "Class of its jobs that name none: jobs of a higher one always go first."},
    )
    weight = fields.Integer(
        validate=validate.Range(1, MOST_WEIGHT, error=f"must be from 1 to {MOST_WEIGHT}"),
        error_messages={"invalid": f"must be an integer from 1 to {MOST_WEIGHT}"},
        metadata={"description": "Its share beside other batches of the same key; 1 if left out."},
    )
    max_cost = _most_cost("What it may cost at most, in USD.")


class BatchResumeQuery(Schema):
    """`POST /v1/batches/<id>/resume?max_cost=`."""

    max_cost = _most_cost("What it may cost at most from now on, in USD, with what it has cost already.")


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
