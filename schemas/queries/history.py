"""Query parameters of the history."""

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from schemas.requests.validators import Options

#: Periods that the service keeps, by their length (jobs.history).
MOST_PERIODS = {"minute": 120, "hour": 192}


class HistoryQuery(Schema):
    """`GET /v1/history`."""

    by = fields.String(
        load_default="minute", validate=Options(tuple(MOST_PERIODS)), metadata={"description": "Length of a period."}
    )
    count = fields.Integer(
        load_default=60,
        validate=validate.Range(min=1),
        metadata={"description": "Periods up to now: at most 120 minutes or 192 hours.", "example": 60},
    )
    key = fields.String(metadata={"description": "Only jobs of this producer, by name."})

    @validates_schema
    def _check_count(self, data: dict[str, object], **_: object) -> None:
        most = MOST_PERIODS[str(data["by"])]
        if int(str(data["count"])) > most:
            raise ValidationError(f"must be at most {most} by {data['by']}", "count")
