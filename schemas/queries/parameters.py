"""Types of query parameters, and those that several operations share."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from schemas.error_text import quoted
from schemas.requests.messages import paths
from schemas.requests.producer_texts import Labels
from schemas.requests.validators import Options, Pattern
from schemas.states import FAILURE_CLASSES, REVIEW_MARKS

MAX_PAGE = 500
#: Characters of the name of a producer.
_LONGEST_NAME = 128
#: What a view of a job has only on request.
INCLUDED = ("request", "revisions", "reviews", "timeline")
#: Lines without an id get `<batch id>.<line number>`, which must fit into 128 characters.
BATCH_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"
#: With a producer's name after `@`, as administrators may write it.
BATCH_REFERENCE = BATCH_ID.removesuffix("$") + r"(@[a-z0-9][a-z0-9_-]{0,31})?$"
batch_reference = Pattern(
    BATCH_REFERENCE, "must begin with a letter or digit and have at most 100 of A-Z a-z 0-9 . _ : -"
)


class Names(fields.List[Any]):
    """Names of a fixed set, repeated or separated by commas."""

    def __init__(self, options: Sequence[str], **kwargs: Any) -> None:
        super().__init__(fields.String(validate=Options(options)), load_default=list, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        given = value if isinstance(value, list) else [value]
        split = [name.strip() for each in given for name in (each.split(",") if isinstance(each, str) else [str(each)])]
        return super()._deserialize(split, *args, **kwargs)


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


def included() -> Names:
    return Names(
        INCLUDED,
        metadata={
            "description": "What to add to each job. request: the generation request, as it could be enqueued again. "
            "revisions: the earlier revisions of the request. reviews: what people think of its outputs. "
            "timeline: what happened to it. Repeatable, or separated by commas."
        },
    )


def failure_classes(description: str) -> fields.List[str]:
    return fields.List(
        fields.String(validate=Options(FAILURE_CLASSES)),
        load_default=list,
        attribute="classes",
        data_key="class",
        metadata={"description": f"{description} Repeatable."},
    )


def review_marks(description: str) -> fields.List[str]:
    return fields.List(
        fields.String(validate=Options(REVIEW_MARKS)),
        load_default=list,
        metadata={"description": f"{description} unreviewed: without a verdict. Repeatable: one of them suffices."},
    )


def page_cursor(pattern: str) -> fields.String:
    return fields.String(
        validate=validate.Regexp(pattern, error="is not a cursor of this API; pass the `cursor` of the previous page"),
        metadata={"description": "The `cursor` of the previous page."},
    )


def page_limit() -> fields.Integer:
    return fields.Integer(
        load_default=100,
        validate=validate.Range(min=1, max=MAX_PAGE, error=f"must be from 1 to {MAX_PAGE}"),
        error_messages={"invalid": f"must be an integer from 1 to {MAX_PAGE}"},
        metadata={"description": "Largest number of entries on a page."},
    )


def dry_run() -> fields.Boolean:
    """Make the parameter that asks for a quote instead of an upload."""
    return fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Enqueue nothing, and answer with a quote, as `POST /v1/quote` does."},
    )


def producer_name(description: str) -> fields.String:
    """Return a parameter that is the name of a producer."""
    return fields.String(
        validate=validate.Length(1, _LONGEST_NAME, error=f"must have 1 to {_LONGEST_NAME} characters"),
        metadata={"description": f"{description} Administrators see those of all."},
    )


class ListQuery(Schema):
    """Parameters of every list."""

    label = LabelPairs(
        metadata={"description": "Only those with this label, as `name=value`. Repeat it to require several labels."}
    )
    created_after = Moment(metadata={"description": "Only those created at this time or later."})
    created_before = Moment(metadata={"description": "Only those created before this time."})
    cursor = page_cursor(r"[0-9]{1,17}\Z")
    limit = page_limit()
