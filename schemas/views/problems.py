"""Errors (RFC 9457), and whether the process is ready."""

from marshmallow import INCLUDE, Schema, fields

from schemas.views.fields import described
from schemas.views.liveness import last_round_age, troubles


class Readiness(Schema):
    """Whether this process can do its work."""

    ready = fields.Boolean(required=True)
    dependencies = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("For each dependency: `ok`, or what is wrong with it.", {"redis": "ok"}),
    )
    troubles = troubles()
    last_round_age = last_round_age()


class Problem(Schema):
    """An error: what is wrong and what to do, as application/problem+json (RFC 9457)."""

    class Meta:
        unknown = INCLUDE  # such as the counts of a refused upload

    type = fields.String(required=True, metadata=described("Kind of problem; always about:blank.", "about:blank"))
    title = fields.String(required=True, metadata=described("Name of the HTTP status.", "Unprocessable Entity"))
    status = fields.Integer(required=True, metadata=described("The HTTP status.", 422))
    detail = fields.String(metadata=described("What is wrong, and what to do."))
    errors = fields.Raw(
        metadata=described(
            "For each field: what is wrong with it. For an upload that was refused as a whole: its refused lines.",
            {"n": ["must be from 1 to 9, not 12"]},
        )
        | {
            "oneOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
                {"type": "array", "items": {"$ref": "#/components/schemas/LineError"}},
            ]
        },
    )
    codes = fields.List(fields.String(), metadata=described("The provider's codes for these errors.", ["002016003"]))
