"""What keeps the service from its work."""

from typing import Any

from marshmallow import Schema, fields

from schemas.views.fields import described, instant


class TroubleView(Schema):
    """Something that keeps the service from its work."""

    code = fields.String(
        required=True,
        metadata=described(
            "broker_away, no_worker, workers_busy, beat_away, queue_unread (no worker reads one of the queues), "
            "stalled (the cause is not known yet), refused (Redis lacks jobs that it should hold). More may follow.",
            "no_worker",
        ),
    )
    since = instant("When a round of reconcile last began, or null if unknown.", required=True, allow_none=True)
    what = fields.String(required=True, metadata=described("What is wrong, and what waits because of it."))
    do = fields.String(required=True, metadata=described("What the operator can do about it."))


def troubles() -> fields.List[Any]:
    """A list of troubles, empty while the service works."""
    return fields.List(
        fields.Nested(TroubleView),
        required=True,
        metadata=described("What keeps the service from its work. Empty while all is well."),
    )


def last_round_age() -> fields.Float:
    """The age of the last round of reconcile."""
    return fields.Float(
        required=True,
        allow_none=True,
        metadata=described(
            "Seconds since a round of reconcile last began, by Redis's clock. One begins every second. null: none has "
            "begun, or Redis does not answer.",
            0.4,
        ),
    )
