"""Query parameters of the operations on deliveries."""

from marshmallow import Schema, fields, validate

from schemas.queries.parameters import Moment, page_cursor, page_limit
from schemas.requests.validators import Options

DELIVERY_STATES = ("pending", "failed", "delivered", "given_up")


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
