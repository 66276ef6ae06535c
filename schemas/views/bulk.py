"""Views of bulk actions."""

from marshmallow import Schema, fields

from schemas.views.fields import described, instant
from schemas.views.quotes import CostEstimate


class BulkView(Schema):
    """A bulk action, and how far it is."""

    id = fields.String(required=True, metadata=described("Id of the bulk action.", "4f0c1d7a9b2e8356"))
    action = fields.String(required=True, metadata=described("What is done with each job.", "retry"))
    status = fields.String(required=True, metadata=described("running, done or aborted.", "running"))
    dry_run = fields.Boolean(required=True, metadata=described("Whether it only counts."))
    filter = fields.Dict(
        keys=fields.String(),
        required=True,
        metadata=described("The filter of the request.", {"batch": "spring-catalogue", "class": ["moderation"]}),
    )
    producer = fields.String(
        required=True, allow_none=True, metadata=described("Who began it; null: an administrator.", "shop")
    )
    key = fields.String(required=True, metadata=described("Id of the key that began it.", "k1a2b3c4"))
    affected = fields.Integer(
        required=True, metadata=described("Number of jobs that it has changed; with `dry_run`: would change.", 12_400)
    )
    at_provider = fields.Integer(
        required=True,
        metadata=described("Of these, jobs that the provider may have: a cancel does not save their cost.", 12),
    )
    skipped = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=described(
            "Jobs that meet the filter and are left as they are, by reason. changed: they have changed since the "
            "beginning. already: nothing is to change. working: the provider may still work on them. has output: they "
            "were cancelled, but have paid output. imageless: an image that they name is not stored any more. damaged: "
            "their record cannot be read.",
            {"working": 3},
        ),
    )
    cost = fields.Nested(
        CostEstimate,
        required=True,
        metadata=described(
            "Expected cost of the affected jobs that the provider does not have: of a retry or resume, what it will "
            "cost; of a cancel, what it saves."
        ),
    )
    progress = fields.Float(required=True, metadata=described("How much of the work is done, from 0 to 1.", 0.62))
    began_at = instant("When it began: jobs that met the filter then are meant.", required=True)
    finished_at = instant("When it was over, otherwise null.", required=True, allow_none=True)


class BulkList(Schema):
    """The last bulk actions, newest first."""

    bulk = fields.List(fields.Nested(BulkView), required=True)
