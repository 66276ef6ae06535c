"""Bulk actions in the HTTP API: their request and their views."""

from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from schemas.queries.job_filter import JobFilterSchema
from schemas.requests.base import PRIORITIES
from schemas.requests.validators import Options

ACTIONS = ("cancel", "retry", "pause", "resume", "priority")
MOST_LISTED = 50


class BulkRequest(Schema):
    """`POST /v1/bulk`."""

    class Meta:
        unknown = RAISE

    action = fields.String(
        required=True,
        validate=Options(ACTIONS),
        metadata={"description": "What to do with each job.", "example": "retry"},
    )
    filter = fields.Nested(
        JobFilterSchema,
        required=True,
        metadata={
            "description": "Which jobs, by the parameters of `GET /v1/jobs`. {} means all of yours.",
            "example": {"batch": "spring-catalogue", "class": ["moderation"]},
        },
    )
    priority = fields.String(
        validate=Options(PRIORITIES), metadata={"description": "With the action `priority`: the new one."}
    )
    dry_run = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Only count the jobs, and their expected cost."},
    )

    @validates_schema
    def _check_priority(self, data: dict[str, Any], **_: Any) -> None:
        if (data.get("action") == "priority") != ("priority" in data):
            raise ValidationError("belongs to the action priority, which needs it", "priority")


class BulkListQuery(Schema):
    """`GET /v1/bulk`."""

    limit = fields.Integer(
        load_default=20,
        validate=validate.Range(min=1, max=MOST_LISTED, error=f"must be from 1 to {MOST_LISTED}"),
        error_messages={"invalid": f"must be an integer from 1 to {MOST_LISTED}"},
        metadata={"description": "Largest number of entries."},
    )
