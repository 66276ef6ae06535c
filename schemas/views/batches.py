"""A batch, a page of batches, and the answers to an upload and to an action."""

from marshmallow import Schema, fields, validate

from schemas.requests.base import PRIORITIES
from schemas.views.fields import described, instant, money, next_cursor


def _id() -> fields.String:
    return fields.String(required=True, metadata=described("Id of the batch.", "spring-catalogue"))


class LineError(Schema):
    """A refused line of an upload."""

    line = fields.Integer(required=True, metadata=described("Number of the line, from 1.", 7))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        required=True,
        metadata=described(
            "For each field: what is wrong with it, and what to do.", {"n": ["must be from 1 to 9, not 12"]}
        ),
    )
    codes = fields.List(
        fields.String(), required=True, metadata=described("The provider's codes for these errors.", ["002016003"])
    )


class Note(Schema):
    """What will stop or delay jobs."""

    code = fields.String(
        required=True,
        metadata=described(
            "max_cost, unknown_price, key_budget, lane_budget, room, memory, lane_closed, stalled, paused, approval or "
            "refused_lines.",
            "max_cost",
        ),
    )
    message = fields.String(required=True, metadata=described("What will happen, for people."))


class BatchAccepted(Schema):
    """The result of an upload."""

    id = _id()
    accepted = fields.Integer(required=True, metadata=described("Number of new jobs.", 998))
    known = fields.Integer(
        required=True, metadata=described("Number of lines whose job existed already, with the same request.", 0)
    )
    rejected = fields.Integer(
        required=True, metadata=described("Number of refused lines, including those that `errors` omits.", 2)
    )
    errors = fields.List(
        fields.Nested(LineError),
        required=True,
        metadata=described("The first refused lines, up to 1,000 and 256 KiB."),
    )
    pilot = fields.Integer(
        required=True,
        allow_none=True,
        metadata=described("Number of jobs that run before the batch is approved, or null without a pilot.", None),
    )
    warnings = fields.List(
        fields.Nested(Note),
        required=True,
        metadata=described("A `max_cost` that the batch will reach before its end, or that is kept at unknown prices."),
    )


class CountsView(Schema):
    """Number of jobs in each state."""

    queued = fields.Integer(required=True)
    submitting = fields.Integer(required=True)
    in_doubt = fields.Integer(required=True)
    in_progress = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    expired = fields.Integer(required=True)


class PilotView(Schema):
    """The jobs of a batch that run before it is approved."""

    jobs = fields.Integer(
        required=True,
        allow_none=True,
        metadata=described("Number of its jobs, or null until the upload has named all lines.", 20),
    )
    unfinished = fields.Integer(required=True, metadata=described("Number of its jobs that have not ended.", 0))
    cost = money("What the batch had cost when it was approved, or has cost so far.", required=True)


class BatchView(Schema):
    """A batch and its progress. `accepted` is the sum of `counts`."""

    id = _id()
    owner = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The producer whose key made the batch. null if it is not recorded.", "shop"),
    )
    accepted = fields.Integer(required=True, metadata=described("Number of jobs in the batch.", 998))
    counts = fields.Nested(CountsView, required=True)
    done = fields.Boolean(required=True, metadata=described("Whether every job has ended."))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described("Number of failed jobs by error code.", {"002016095": 4}),
    )
    classes = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described("Number of failed jobs by class of failure.", {"transient": 4}),
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("The batch's labels.", {"season": "spring"}),
    )
    priority = fields.String(
        required=True,
        validate=validate.OneOf(PRIORITIES),
        metadata=described("Priority of those of its jobs that name none.", "normal"),
    )
    weight = fields.Integer(
        required=True, metadata=described("The batch's share, relative to other batches of the same producer.", 1)
    )
    max_cost = money("Most that the batch may cost, or null for no limit.", required=True, allow_none=True)
    rate = fields.Float(required=True, metadata=described("Jobs that ended per second, over the last minute.", 12.5))
    eta = fields.Float(
        required=True,
        allow_none=True,
        metadata=described("Estimated seconds until every job has ended, or null if unknown.", 640.0),
    )
    paused = fields.Boolean(
        required=True,
        metadata=described(
            "Whether the batch is paused: on request, because it reached max_cost, or until it is approved. `reason` "
            "says which."
        ),
    )
    awaits_approval = fields.Boolean(
        required=True,
        metadata=described("Whether its jobs, but for those of its pilot, are submitted only once it is approved."),
    )
    pilot = fields.Nested(
        PilotView, required=True, allow_none=True, metadata=described("Its pilot, or null if none was asked for.")
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata=described("Why the batch is paused or what its jobs wait for, or null if there is no more to say."),
    )
    reviews = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described(
            "Number of outputs that people accepted, rejected and starred.",
            {"accepted": 12, "rejected": 3, "starred": 1},
        ),
    )
    cost = money("Cost of its jobs so far.", required=True)
    unknown_costs = fields.Integer(
        required=True, metadata=described("Number of jobs whose cost is unknown, and not part of `cost`.", 0)
    )
    expected_cost = money(
        "Estimated cost when every job has ended, from recent prices of such jobs, or null if unknown.",
        required=True,
        allow_none=True,
    )
    to_save = fields.Integer(
        required=True, metadata=described("Number of jobs whose results the service is still to save.", 0)
    )
    unsaved = fields.Integer(
        required=True,
        metadata=described(
            "Number of jobs whose results could not be saved before the provider deleted them, and are given up.", 0
        ),
    )
    created_at = instant("When the batch began.", required=True)


class BatchList(Schema):
    """A page of batches."""

    batches = fields.List(fields.Nested(BatchView), required=True)
    cursor = next_cursor()


class BatchChanged(Schema):
    """The result of an action on a batch."""

    id = _id()
    action = fields.String(required=True, metadata=described("pause, resume, approve, cancel or retry.", "cancel"))
    affected = fields.Integer(
        required=True, metadata=described("Number of jobs that the action has changed so far.", 40_000)
    )
    pending = fields.Integer(
        required=True,
        metadata=described(
            "Largest number of jobs that the action has still to change. The service goes on by itself.", 0
        ),
    )
