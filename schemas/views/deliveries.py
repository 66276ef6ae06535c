"""Notifications of a producer with their attempts, and the receivers they go to."""

from marshmallow import Schema, fields, validate

from schemas.queries.deliveries import DELIVERY_STATES
from schemas.views.fields import described, instant, next_cursor

RECEIVER_STATES = ("healthy", "failing", "disabled")
_HOST = "hooks.shop.example"


class AttemptView(Schema):
    """An attempt to deliver a notification."""

    id = fields.String(
        required=True,
        metadata=described("The header `webhook-id`: the same for each attempt of one end.", "order-4711.completed"),
    )
    at = instant("When a worker claimed it.", required=True)
    address = fields.String(
        required=True,
        metadata=described("Where it went, without a password and the values of the query.", f"https://{_HOST}/jobs"),
    )
    status = fields.Integer(
        required=True, allow_none=True, metadata=described("HTTP status of the answer. null: there was none.", 503)
    )
    took = fields.Float(required=True, metadata=described("Seconds that the attempt took.", 0.21))
    error = fields.String(
        required=True, allow_none=True, metadata=described("Why it failed. null: it was accepted.", "ReadTimeout")
    )
    next_at = instant("When the next attempt was planned. null: none was.", required=True, allow_none=True)


class DeliveryView(Schema):
    """The delivery of a notification to a `callback_url`."""

    job = fields.String(
        required=True,
        allow_none=True,
        metadata=described("Id of the job. null: it is an event of a batch.", "order-4711"),
    )
    batch = fields.String(
        required=True, allow_none=True, metadata=described("Id of the batch. null: of none.", "spring-catalogue")
    )
    owner = fields.String(
        required=True, allow_none=True, metadata=described("Name of the producer's key. null: none.", "shop")
    )
    event = fields.String(required=True, metadata=described("What is notified.", "job.completed"))
    state = fields.String(
        required=True,
        validate=validate.OneOf(DELIVERY_STATES),
        metadata=described(
            "pending: not tried yet. failed: it is tried again. delivered: it was accepted. given_up: replay it."
        ),
    )
    changed_at = instant("Time of the last attempt, or else of the last change of the job.", required=True)
    attempts = fields.List(
        fields.Nested(AttemptView), required=True, metadata=described("The last attempts, oldest first.")
    )
    error = fields.String(
        required=True,
        allow_none=True,
        metadata=described("Why it waits or was given up. null: no reason.", "the callback_url answered 503"),
    )


class DeliveryList(Schema):
    """A page of deliveries, last changed first."""

    deliveries = fields.List(fields.Nested(DeliveryView), required=True, metadata=described("The deliveries."))
    cursor = next_cursor()


class DeliveriesOfOne(Schema):
    """The deliveries of one job or batch."""

    deliveries = fields.List(
        fields.Nested(DeliveryView), required=True, metadata=described("Empty: it notifies nobody, or goes on.")
    )


class Replayed(Schema):
    """What a replay has begun."""

    replayed = fields.Integer(required=True, metadata=described("Deliveries that are sent again.", 12))
    skipped = fields.Integer(
        required=True, metadata=described("Deliveries that are being sent now, or were deleted meanwhile.", 0)
    )
    cursor = next_cursor()


class ReceiverView(Schema):
    """A host that gets notifications of a producer."""

    name = fields.String(
        required=True, metadata=described("The host, with its port unless it is the usual one.", _HOST)
    )
    owner = fields.String(
        required=True, allow_none=True, metadata=described("Name of the producer's key. null: none.", "shop")
    )
    state = fields.String(
        required=True,
        validate=validate.OneOf(RECEIVER_STATES),
        metadata=described("disabled: it failed for too long, and gets nothing until it is enabled."),
    )
    accepted_at = instant("When it last accepted a notification.", required=True, allow_none=True)
    failing_since = instant("Since when it accepts none.", required=True, allow_none=True)
    failed_at = instant("When a notification last failed.", required=True, allow_none=True)
    failures = fields.Integer(
        required=True, metadata=described("Failures in a row, counted until its circuit breaker opens.", 5)
    )
    error = fields.String(required=True, allow_none=True, metadata=described("Why the last one failed.", "ReadTimeout"))
    retry_at = instant("Until then its circuit breaker is open.", required=True, allow_none=True)
    disabled_at = instant("When it was disabled.", required=True, allow_none=True)


class ReceiverList(Schema):
    """The receivers of a producer."""

    receivers = fields.List(
        fields.Nested(ReceiverView), required=True, metadata=described("The one with the last answer first.")
    )
