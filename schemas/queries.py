"""Query parameters of the HTTP API."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.error_text import quoted
from schemas.requests.base import PRIORITIES
from schemas.requests.fields import Labels, Options, Pattern, paths
from schemas.states import FAILURE_CLASSES, JOB_STATES

MAX_PAGE = 500
#: In a list of a batch, `c` marks a time of creation.
JOB_CURSOR = r"c?[0-9]{1,17}\Z"
DELIVERY_STATES = ("pending", "failed", "delivered", "given_up")
#: What a view of a job has only on request.
INCLUDED = ("request", "revisions")
BATCH_STATES = ("running", "paused", "done")
MOST_WEIGHT = 100
#: Jobs of a pilot.
MOST_PILOT = 500
#: USD. The store counts costs in nano-dollars, in 64 bits.
LEAST_COST, MOST_COST = Decimal("0.000000001"), Decimal(1_000_000_000)
LONGEST_WAIT = 60
#: Pixels of the longer side. Few sizes, so that few files are made of one image.
THUMBNAIL_SIZES = (128, 256, 512, 1024)

#: States that a batch's retry may name. The default is failed jobs only, since each attempt costs money.
RETRIED_STATES = ("failed", "expired", "cancelled")

#: Before the name of a label, by whose values spending is summed.
BY_LABEL = "label:"
SPENT_BY = ("day", "key", "batch", "model", "lane")
#: Most days that one question about spending may cover, and the days it covers by default.
MOST_DAYS = 366
USUAL_DAYS = 30

#: Lines without an id get `<batch id>.<line number>`, which must fit into 128 characters.
BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
#: With a producer's name after `@`, as administrators may write it.
BATCH_REFERENCE = BATCH_ID.removesuffix("$") + r"(@[a-z0-9][a-z0-9_-]{0,31})?$"
#: A batch of the OpenAPI document's examples.
EXAMPLE_BATCH = "spring-catalogue"
batch_reference = Pattern(
    BATCH_REFERENCE, "must begin with a letter or digit and have at most 100 of A-Z a-z 0-9 . _ : -"
)


def _most_cost(description: str) -> fields.Decimal:
    return fields.Decimal(
        places=9,
        as_string=True,
        validate=validate.Range(LEAST_COST, MOST_COST, error=f"must be from {LEAST_COST:f} to {MOST_COST:,f} USD"),
        error_messages={"invalid": "must be an amount of USD, such as 12.50", "special": "must be a finite amount"},
        metadata={"description": description},
    )


class Names(fields.List[Any]):
    """Names of a fixed set, repeated or separated by commas."""

    def __init__(self, options: Sequence[str], **kwargs: Any) -> None:
        super().__init__(fields.String(validate=Options(options)), load_default=list, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        given = value if isinstance(value, list) else [value]
        split = [name.strip() for each in given for name in (each.split(",") if isinstance(each, str) else [str(each)])]
        return super()._deserialize(split, *args, **kwargs)


def included() -> Names:
    """Make the parameter of what views of jobs have on request."""
    return Names(
        INCLUDED,
        metadata={
            "description": "What to add to each job. request: the generation request, as it could be enqueued again. "
            "revisions: the earlier revisions of the request. Repeatable, or separated by commas."
        },
    )


def failure_classes(description: str) -> fields.List[str]:
    """Make the parameter of classes of failure."""
    return fields.List(
        fields.String(validate=Options(FAILURE_CLASSES)),
        load_default=list,
        attribute="classes",
        data_key="class",
        metadata={"description": f"{description} Repeatable."},
    )


class LabelPairs(fields.List[Any]):
    """`label=<name>=<value>`, repeatable, as a mapping under the rules of a job's labels."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(fields.String(), load_default=dict, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        labels: dict[str, str] = {}
        problems = []
        for text in map(str, super()._deserialize(value, *args, **kwargs)):
            name, sign, rest = text.partition("=")
            if not sign:
                problems.append(f"must be <name>=<value>, not {quoted(text)}")
            elif labels.setdefault(name, rest) != rest:
                problems.append(f"gives the label {quoted(name)} two values; leave one out")
        try:
            Labels().deserialize(labels)
        except ValidationError as error:
            problems += [
                f"{name}: {'; '.join(texts)}" if name != "request" else texts[0]
                for name, texts in paths(error.messages).items()
            ]
        if problems:
            raise ValidationError(problems)
        return labels


class Moment(fields.AwareDateTime):
    """A time or day in ISO 8601, in UTC if it has no offset."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError(
                f"must be ISO 8601, such as 2026-01-31T12:00:00Z (write + as %2B in a URL), not {quoted(value)}"
            ) from None
        return moment


def page_cursor(pattern: str) -> fields.String:
    """Make the parameter of the next page. `pattern`: of its cursors."""
    return fields.String(
        validate=validate.Regexp(pattern, error="is not a cursor of this API; pass the `cursor` of the previous page"),
        metadata={"description": "The `cursor` of the previous page."},
    )


def page_limit() -> fields.Integer:
    """Make the parameter of the size of a page."""
    return fields.Integer(
        load_default=100,
        validate=validate.Range(min=1, max=MAX_PAGE, error=f"must be from 1 to {MAX_PAGE}"),
        error_messages={"invalid": f"must be an integer from 1 to {MAX_PAGE}"},
        metadata={"description": "Largest number of entries on a page."},
    )


class ListQuery(Schema):
    """Parameters of a list by label and time."""

    label = LabelPairs(
        metadata={"description": "Only those with this label, as `name=value`. Repeat it to require several labels."}
    )
    created_after = Moment(metadata={"description": "Only those created at this time or later."})
    created_before = Moment(metadata={"description": "Only those created before this time."})
    cursor = page_cursor(r"[0-9]{1,17}\Z")
    limit = page_limit()


class BatchListQuery(ListQuery):
    """`GET /v1/batches`."""

    status = fields.String(
        validate=Options(BATCH_STATES),
        metadata={
            "description": "done: every job has ended. paused: on request, or at its max_cost. running: all others."
        },
    )


class DeliveryQuery(Schema):
    """`GET /v1/deliveries`."""

    state = fields.List(
        fields.String(validate=Options(DELIVERY_STATES)),
        load_default=list,
        metadata={"description": "Only deliveries in these states. Repeatable. Default: all."},
    )
    host = fields.String(
        validate=validate.Length(1, 300),
        metadata={
            "description": "Only those whose last attempt went to this host, with its port unless it is the usual one."
        },
    )
    since = Moment(metadata={"description": "Only those that changed at this time or later."})
    cursor = page_cursor(r"[A-Za-z0-9_-]{1,400}\Z")
    limit = page_limit()


class ReplayQuery(DeliveryQuery):
    """`POST /v1/deliveries/replay`."""

    state = fields.List(
        fields.String(validate=Options(DELIVERY_STATES)),
        load_default=["failed", "given_up"],
        metadata={"description": "Deliveries in these states. Repeatable. Default: failed, given_up."},
    )


class WaitQuery(Schema):
    """`GET /v1/jobs/<id>`."""

    wait = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=LONGEST_WAIT, error=f"must be from 0 to {LONGEST_WAIT} seconds"),
        error_messages={"invalid": "must be a number of seconds", "special": "must be a finite number of seconds"},
        metadata={"description": "Wait until the job has ended, but no longer than this many seconds (0 to 60)."},
    )
    include = included()


def dry_run() -> fields.Boolean:
    """Make the parameter that asks for a quote instead of an upload."""
    return fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Enqueue nothing, and answer with a quote, as `POST /v1/quote` does."},
    )


class OutputQuery(Schema):
    """`GET /v1/jobs/<id>/outputs/<index>`. A link has `expires` and `signature`."""

    size = fields.Integer(
        validate=validate.OneOf(THUMBNAIL_SIZES, error="must be one of {choices}"),
        metadata={"description": "Get a thumbnail: pixels of its longer side.", "example": THUMBNAIL_SIZES[1]},
    )
    expires = fields.String(metadata={"description": "When the link expires, in seconds since 1970."})
    signature = fields.String(metadata={"description": "The signature of the link, which replaces a key."})


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


class EnqueueQuery(Schema):
    """`POST /v1/jobs`."""

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
    format = fields.String(
        load_default="ndjson",
        validate=Options(("ndjson", "csv")),
        metadata={
            "description": "ndjson: one JSON object for each job, one per line. csv: the main columns, comma-separated."
        },
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


def _spent_by(value: str) -> None:
    name = value.removeprefix(BY_LABEL)
    if name == value:
        Options(SPENT_BY)(value)
    elif not Labels.NAME.fullmatch(name):
        raise ValidationError(f"must name a label after {BY_LABEL}, as label:team, not {quoted(name)}")


_not_a_day: dict[str, Any] = {"invalid": "must be a day, such as 2026-01-31"}


class SpendQuery(Schema):
    """`GET /v1/spend`."""

    by = fields.String(
        load_default="day",
        validate=_spent_by,
        metadata={
            "description": f"What each row stands for: {', '.join(SPENT_BY)}, or label:<name>, the values of a label.",
            "example": "label:team",
        },
    )
    first = fields.Date(
        data_key="from",
        error_messages=_not_a_day,
        metadata={"description": f"First day, UTC. Default: {USUAL_DAYS} days up to the last one."},
    )
    last = fields.Date(
        data_key="to", error_messages=_not_a_day, metadata={"description": "Last day, UTC. Default: today."}
    )
    key = fields.String(metadata={"description": "Only jobs enqueued with this producer's keys, by name."})
    batch = fields.String(metadata={"description": "Only jobs of this batch."})
    model = fields.String(metadata={"description": "Only jobs of this model."})
    lane = fields.String(metadata={"description": "Only jobs that this lane submitted."})

    @validates_schema
    def _check_label(self, data: dict[str, Any], **_: Any) -> None:
        for name in {"batch", "model", "lane"} & data.keys() if data["by"].startswith(BY_LABEL) else ():
            raise ValidationError("cannot be combined with by=label:<name>; leave it out, or use `key`", name)

    @validates_schema
    def _check_days(self, data: dict[str, Any], **_: Any) -> None:
        if "first" not in data or "last" not in data:
            return
        if data["first"] > data["last"]:
            raise ValidationError(f"must not be after `to`, {data['last']}", "from")
        if data["last"] - data["first"] >= timedelta(days=MOST_DAYS):
            raise ValidationError(f"must be at most {MOST_DAYS} days before `to`, {data['last']}", "from")
