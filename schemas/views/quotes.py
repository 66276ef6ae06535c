"""A quote: what an upload would do, cost and wait for."""

from marshmallow import Schema, fields, validate

from schemas.views.batches import LineError, Note
from schemas.views.fields import described, money

BASES = ("learned", "configured", "mixed", "unknown")


def _base() -> fields.String:
    return fields.String(
        required=True,
        validate=validate.OneOf(BASES),
        metadata=described(
            "What the cost is based on. learned: the last costs of such jobs, yours first. configured: the operator's "
            "list prices. mixed: both. unknown: nothing is known of some of the jobs.",
            "learned",
        ),
    )


class LineProblem(Schema):
    """A mistake, and the lines that have it."""

    field = fields.String(required=True, metadata=described("The field, with `*` for places in a list.", "n"))
    message = fields.String(
        required=True, metadata=described("The first such mistake, and what to do.", "must be from 1 to 9, not 12")
    )
    codes = fields.List(fields.String(), required=True, metadata=described("The provider's codes.", ["002016003"]))
    lines = fields.Integer(required=True, metadata=described("Number of lines with it.", 12))
    first = fields.List(
        fields.Integer(), required=True, metadata=described("Numbers of the first of these lines, from 1.", [3, 8])
    )


class CostEstimate(Schema):
    """An expected cost and its spread. All amounts are null while the price of a job is unknown."""

    base = _base()
    expected = money("Expected cost: what the service would reserve.", required=True, allow_none=True)
    low = money("Cost if each job costs the least of the last nine.", required=True, allow_none=True)
    median = money("Cost at the median of the last nine.", required=True, allow_none=True)
    high = money("Cost if each job costs the most of the last nine.", required=True, allow_none=True)


class QuotedKind(CostEstimate):
    """Jobs of one model, `n` and resolution. The amounts are those of one job."""

    model = fields.String(required=True, metadata=described("Model.", "kirin_image_omni"))
    n = fields.Integer(required=True, metadata=described("Images of each job.", 1))
    resolution = fields.String(required=True, metadata=described("Resolution. Empty: the model's default.", "2k"))
    jobs = fields.Integer(required=True, metadata=described("Number of jobs.", 998))


class QuoteView(Schema):
    """What an upload would do. Nothing is enqueued, and no image is stored."""

    accepted = fields.Integer(required=True, metadata=described("Number of jobs that would be new.", 998))
    known = fields.Integer(
        required=True, metadata=described("Number of lines whose job exists already, with the same request.", 0)
    )
    rejected = fields.Integer(required=True, metadata=described("Number of lines that would be refused.", 2))
    errors = fields.List(
        fields.Nested(LineError),
        required=True,
        metadata=described("The first refused lines, up to 1,000 and 256 KiB."),
    )
    problems = fields.List(
        fields.Nested(LineProblem),
        required=True,
        metadata=described("The same by mistake, up to 100 of them, the most frequent first."),
    )
    kinds = fields.List(
        fields.Nested(QuotedKind), required=True, metadata=described("The new jobs by model, `n` and resolution.")
    )
    cost = fields.Nested(
        CostEstimate, required=True, metadata=described("Cost of all new jobs, without what the batch has already.")
    )
    unpriced = fields.Integer(required=True, metadata=described("Number of new jobs whose price is unknown.", 0))
    seconds = fields.Float(
        required=True,
        allow_none=True,
        metadata=described(
            "Estimated seconds until the new jobs have ended, at the limits in force and beside jobs that wait now. "
            "null if unknown.",
            640.0,
        ),
    )
    blocks = fields.List(
        fields.Nested(Note), required=True, metadata=described("What would stop or delay it. Empty: nothing known.")
    )
