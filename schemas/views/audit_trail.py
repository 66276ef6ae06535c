"""The audit trail: who changed what, and with what result."""

from marshmallow import Schema, fields, validate

from schemas.views.fields import described, instant, next_cursor

VIA = ("api", "page", "command")


class AuditEntryView(Schema):
    """A change that was requested, and its result."""

    id = fields.String(required=True, metadata=described("Id of the entry.", "1769860800000-0"))
    at = instant("When it was done. null: the entry is damaged.", required=True, allow_none=True)
    key = fields.String(
        required=True, allow_none=True, metadata=described("Id of the key. null: a command did it.", "1ca413871420")
    )
    by = fields.String(
        required=True, allow_none=True, metadata=described("Name of the key, or the user of the command.", "shop")
    )
    operation = fields.String(
        required=True, metadata=described("What was requested. damaged: it cannot be read.", "batch_actions.cancel")
    )
    via = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf(VIA),
        metadata=described("How: by the API, a page of the dashboard, or a command of boomerang-server."),
    )
    status = fields.Integer(
        required=True,
        allow_none=True,
        metadata=described("HTTP status of the answer; 303 for a page. null: a command did it.", 200),
    )
    outcome = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The outcome, where there is more to tell. not done: a page refused it.", "cancelled"),
    )
    affected = fields.Integer(
        required=True, allow_none=True, metadata=described("Jobs or deliveries that it changed.", 117)
    )
    job = fields.String(required=True, allow_none=True, metadata=described("Id of the job. null: of none.", "boats.17"))
    batch = fields.String(
        required=True, allow_none=True, metadata=described("Id of the batch. null: of none.", "boats")
    )
    details = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("What else it named: a lane, a key, changed limits …", {"lane": "main"}),
    )
    request = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The answer's X-Request-Id, which its line in the audit log has, too.", "4f0c1d7a9b2e8356"),
    )


class AuditTrailView(Schema):
    """A page of the audit trail, newest first."""

    entries = fields.List(fields.Nested(AuditEntryView), required=True, metadata=described("The entries."))
    cursor = next_cursor()
