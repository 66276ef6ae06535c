"""The limits of a key, and limits that were changed while the service runs."""

from marshmallow import Schema, fields

from schemas.queries.batches import MOST_WEIGHT
from schemas.requests.base import PRIORITIES
from schemas.requests.validators import Options
from schemas.views.fields import described, instant, money


class OverrideView(Schema):
    """A limit that was changed while the service runs."""

    name = fields.String(required=True, metadata=described("Name of the limit.", "max_in_flight"))
    value = fields.Raw(required=True, allow_none=True, metadata=described("Its value. null: no limit.", 10))
    configured = fields.Raw(
        required=True, allow_none=True, metadata=described("The configured value, which a reset gives back.", 64)
    )
    since = instant("When it was changed.", required=True)
    until = instant("When the configured value is back. null: when it is reset.", required=True, allow_none=True)
    by = fields.String(required=True, metadata=described("Id of the key that changed it.", "1ca413871420"))
    reason = fields.String(required=True, metadata=described("Why.", "the provider has trouble with more"))


class KeyLimitsView(Schema):
    """The limits of a producer's keys that are in force."""

    name = fields.String(required=True, metadata=described("Name of the producer's keys.", "shop"))
    weight = fields.Integer(
        required=True, metadata=described(f"Share of admission beside other keys, 1 to {MOST_WEIGHT}.", 3)
    )
    priority = fields.String(
        required=True,
        validate=Options(PRIORITIES),
        metadata=described("While jobs of a higher key wait, none of a lower key is admitted.", "normal"),
    )
    max_cost_per_day = money(
        "Most that its jobs may cost in a day of UTC. null: no limit.", required=True, allow_none=True
    )
    max_unfinished = fields.Integer(
        required=True, allow_none=True, metadata=described("Most unfinished jobs. null: no limit of its own.", 20_000)
    )
    max_stored = fields.Integer(
        required=True,
        allow_none=True,
        metadata=described("Most bytes of its jobs and images. null: no limit of its own.", 1_000_000_000),
    )
    callback_hosts = fields.List(
        fields.String(),
        required=True,
        allow_none=True,
        metadata=described("The only hosts that its notifications may go to. null: any.", ["hooks.shop.example"]),
    )
    overrides = fields.List(
        fields.Nested(OverrideView),
        required=True,
        metadata=described("The limits that differ from the configured ones."),
    )
