"""Query parameters of the audit trail."""

from marshmallow import Schema, fields, validate

from schemas.queries.parameters import Moment, page_cursor, page_limit

_LONGEST = 200


def _part(description: str) -> fields.String:
    return fields.String(validate=validate.Length(1, _LONGEST), metadata={"description": description})


class AuditTrailQuery(Schema):
    """`GET /v1/audit-trail`."""

    since = Moment(metadata={"description": "Only entries from this time on."})
    until = Moment(metadata={"description": "Only entries before this time."})
    operation = _part("Only operations whose name contains this, such as `cancel` or `batch_actions.pause`.")
    key = _part("Only what this key did: its id or its name. Of commands: the user.")
    about = fields.String(
        data_key="id",
        validate=validate.Length(1, _LONGEST),
        metadata={
            "description": "Only entries that name this: the id of a job, batch, bulk action, key or request, a lane …"
        },
    )
    cursor = page_cursor(r"[0-9]{1,20}-[0-9]{1,20}\.[a-z0-9_*-]{1,40}\Z")
    limit = page_limit()
