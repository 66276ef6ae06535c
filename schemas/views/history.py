"""The history: how many jobs ended in each minute or hour, and how long they took."""

from marshmallow import Schema, fields

from schemas.views.fields import described, instant


class DurationsView(Schema):
    """Times of the jobs that ended in a period."""

    count = fields.Integer(required=True, metadata=described("Jobs of which the time is known.", 117))
    p50 = fields.Float(
        required=True,
        allow_none=True,
        metadata=described("Seconds that half of them did not exceed, to about a fifth; null without jobs.", 21.4),
    )
    p95 = fields.Float(
        required=True, allow_none=True, metadata=described("Seconds that 95 % of them did not exceed.", 38.0)
    )


class PeriodView(Schema):
    """A minute or an hour. A job that is retried ends more than once."""

    at = instant("When it begins.", required=True)
    seconds = fields.Integer(required=True, metadata=described("Its length.", 60))
    ended = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described("Jobs that ended, by state.", {"completed": 112, "failed": 5}),
    )
    settled_by = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described(
            "The same by what ended them: callback, poll or submit.", {"callback": 110, "poll": 6, "submit": 1}
        ),
    )
    queue_wait = fields.Nested(
        DurationsView, required=True, metadata=described("Seconds from acceptance to the first submission.")
    )
    provider_time = fields.Nested(
        DurationsView, required=True, metadata=described("Seconds at the provider, of the last attempt.")
    )


class HistoryView(Schema):
    """Periods, oldest first. The last one is not over."""

    by = fields.String(required=True, metadata=described("Length of a period, as in the query.", "minute"))
    periods = fields.List(fields.Nested(PeriodView), required=True)
