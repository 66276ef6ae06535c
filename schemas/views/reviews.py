"""The review of an output, and the request that makes one."""

from marshmallow import Schema, fields, validate

from schemas.requests.validators import Options
from schemas.states import VERDICTS
from schemas.views.fields import described, instant

#: Characters of a note. `jobs.review` has the same.
LONGEST_NOTE = 300


class ReviewRequest(Schema):
    """`PUT /v1/jobs/<id>/outputs/<index>/review`. What is left out is removed."""

    verdict = fields.String(
        load_default=None,
        allow_none=True,
        validate=Options(VERDICTS),
        metadata=described("Whether the output is good enough; null takes the verdict back.", "accepted"),
    )
    starred = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Whether it is one of the best.", "example": True},
    )
    note = fields.String(
        load_default="",
        validate=validate.Length(max=LONGEST_NOTE, error=f"must have at most {LONGEST_NOTE} characters"),
        metadata=described("A note for people.", "The left paw has six toes."),
    )


class ReviewView(Schema):
    """What a person thinks of an output."""

    output = fields.Integer(required=True, metadata=described("Number of the output, from 0.", 0))
    verdict = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(VERDICTS),
        metadata=described("accepted, rejected, or null without a verdict.", "accepted"),
    )
    starred = fields.Boolean(required=True, metadata=described("Whether it is one of the best."))
    note = fields.String(required=True, metadata=described("The reviewer's note, or empty.", ""))
    by = fields.String(required=True, metadata=described("Id of the reviewer's key.", "shop-1"))
    at = instant("When it was reviewed.", required=True)
