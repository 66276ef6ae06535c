"""What was spent: how it is asked for, and shown."""

from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.requests.fields import Options

SPENT_BY = ("day", "key", "batch", "model", "lane")
#: Days that one question may ask for, and those it asks for if it names none.
MOST_DAYS = 366
USUAL_DAYS = 30

_not_a_day: dict[str, Any] = {"invalid": "must be a day such as 2026-01-31"}


class SpendQuery(Schema):
    """`GET /v1/spend?by=&from=&to=`, and what it is asked of."""

    by = fields.String(
        load_default="day",
        validate=Options(SPENT_BY),
        metadata={"description": "What to tell it apart by; day if left out."},
    )
    first = fields.Date(
        data_key="from",
        error_messages=_not_a_day,
        metadata={"description": f"First day, UTC. Left out: {USUAL_DAYS} days in all."},
    )
    last = fields.Date(
        data_key="to", error_messages=_not_a_day, metadata={"description": "Last day, UTC. Left out: today."}
    )
    key = fields.String(metadata={"description": "Only of jobs that came with this producer's key, by its name."})
    batch = fields.String(metadata={"description": "Only of this batch's jobs."})
    model = fields.String(metadata={"description": "Only of this model's jobs."})
    lane = fields.String(metadata={"description": "Only of what went through this lane."})

    @validates_schema
    def _check_days(self, data: dict[str, Any], **_: Any) -> None:
        if "first" not in data or "last" not in data:
            return
        if data["first"] > data["last"]:
            raise ValidationError(f"must not be after `to`, {data['last']}", "from")
        if data["last"] - data["first"] >= timedelta(days=MOST_DAYS):
            raise ValidationError(f"with `to` spans more than {MOST_DAYS} days; ask for fewer", "from")


class SpendRow(Schema):
    """What was spent on one day, or by one key, batch, model or lane."""

    name = fields.String(
        required=True, metadata={"description": "Empty for what came without a key, or in no batch.", "example": "shop"}
    )
    cost = fields.Decimal(
        as_string=True, required=True, metadata={"description": "USD, a decimal string.", "example": "12.5"}
    )
    jobs = fields.Integer(
        required=True,
        metadata={"description": "Results that came, and failures that cost something.", "example": 1923},
    )


class SpendView(Schema):
    """What was spent: by day in order, else the dearest first."""

    by = fields.String(required=True, validate=validate.OneOf(SPENT_BY), metadata={"example": "day"})
    rows = fields.List(fields.Nested(SpendRow), required=True)
    cost = fields.Decimal(
        as_string=True,
        required=True,
        metadata={"description": "Of all rows. USD, a decimal string.", "example": "12.5"},
    )
    jobs = fields.Integer(required=True, metadata={"description": "Of all rows.", "example": 1923})
