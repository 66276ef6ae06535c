"""The filter of jobs, as query parameters of a list and as the `filter` of a bulk action."""

from decimal import Decimal

from marshmallow import Schema, fields, validate

from schemas.queries.batches import MOST_COST
from schemas.queries.parameters import LabelPairs, Moment, Names, batch_reference, failure_classes, producer_name
from schemas.states import JOB_STATES

#: What ended a job (`settled_by`).
SETTLED_BY = ("callback", "poll", "submit", "cancel", "deadline", "expires_in", "hand")
#: Most values of one condition, and most characters of one.
MOST_VALUES, _LONGEST = 50, 128


def _values(description: str) -> fields.List[str]:
    return fields.List(
        fields.String(validate=validate.Length(1, _LONGEST, error=f"must have 1 to {_LONGEST} characters")),
        validate=validate.Length(max=MOST_VALUES, error=f"must have at most {MOST_VALUES} values"),
        load_default=list,
        metadata={"description": f"{description} Repeatable."},
    )


def _cost(description: str) -> fields.Decimal:
    return fields.Decimal(
        places=9,
        as_string=True,
        validate=validate.Range(Decimal(0), MOST_COST, error=f"must be from 0 to {MOST_COST:,f} USD"),
        error_messages={"invalid": "must be an amount of USD, such as 12.50", "special": "must be a finite amount"},
        metadata={"description": description},
    )


class JobFilterSchema(Schema):
    """The conditions that a job must meet: all of them; of several values of one, any."""

    status = Names(
        JOB_STATES,
        metadata={"description": "Only jobs in these states. Repeatable, or separated by commas."},
    )
    batch = fields.String(validate=batch_reference, metadata={"description": "Only jobs of this batch."})
    label = LabelPairs(
        metadata={
            "description": "Only jobs with this label of their own, as `name=value`. Repeat it to require several."
        }
    )
    model = _values("Only jobs of these models.")
    lane = _values("Only jobs whose present attempt these lanes submitted.")
    failure = failure_classes("Only failed jobs of these classes of failure.")
    code = _values("Only failed jobs with these error codes.")
    settled_by = Names(
        SETTLED_BY,
        metadata={"description": "Only jobs that this ended. Repeatable, or separated by commas."},
    )
    created_after = Moment(metadata={"description": "Only jobs created at this time or later."})
    created_before = Moment(metadata={"description": "Only jobs created before this time."})
    finished_after = Moment(metadata={"description": "Only jobs that ended at this time or later."})
    finished_before = Moment(metadata={"description": "Only jobs that ended before this time."})
    min_cost = _cost("Only jobs that cost at least so much, in USD. Jobs without a price are left out.")
    max_cost = _cost("Only jobs that cost at most so much, in USD. Jobs without a price are left out.")
    producer = producer_name("Only jobs of this producer.")


#: Names of the conditions, as parameters.
CONDITIONS: tuple[str, ...] = tuple(each.data_key or name for name, each in JobFilterSchema().fields.items())
