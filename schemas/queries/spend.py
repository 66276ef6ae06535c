"""Query parameters of sums of spending."""

from datetime import timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from schemas.error_text import quoted
from schemas.requests.producer_texts import Labels
from schemas.requests.validators import Options

#: Before the name of a label, by whose values spending is summed.
BY_LABEL = "label:"
SPENT_BY = ("day", "key", "batch", "model", "lane")
#: Most days that one question about spending may cover, and the days it covers by default.
MOST_DAYS = 366
USUAL_DAYS = 30


def _spent_by(value: str) -> None:
    name = value.removeprefix(BY_LABEL)
    if name == value:
        Options(SPENT_BY)(value)
    elif not Labels.NAME.fullmatch(name):
        raise ValidationError(f"must name a label after {BY_LABEL}, as label:team, not {quoted(name)}")


_not_a_day: dict[str, Any] = {"invalid": "must be a day, such as 2026-01-31"}


class SpendQuery(Schema):
    """`GET /v1/spend`."""

    by = fields.String(
        load_default="day",
        validate=_spent_by,
        metadata={
            "description": f"What each row stands for: {', '.join(SPENT_BY)}, or label:<name>, the values of a label.",
            "example": "label:team",
        },
    )
    first = fields.Date(
        data_key="from",
        error_messages=_not_a_day,
        metadata={"description": f"First day, UTC. Default: {USUAL_DAYS} days up to the last one."},
    )
    last = fields.Date(
        data_key="to", error_messages=_not_a_day, metadata={"description": "Last day, UTC. Default: today."}
    )
    key = fields.String(metadata={"description": "Only jobs enqueued with this producer's keys, by name."})
    batch = fields.String(metadata={"description": "Only jobs of this batch."})
    model = fields.String(metadata={"description": "Only jobs of this model."})
    lane = fields.String(metadata={"description": "Only jobs that this lane submitted."})

    @validates_schema
    def _check_label(self, data: dict[str, Any], **_: Any) -> None:
        for name in {"batch", "model", "lane"} & data.keys() if data["by"].startswith(BY_LABEL) else ():
            raise ValidationError("cannot be combined with by=label:<name>; leave it out, or use `key`", name)

    @validates_schema
    def _check_days(self, data: dict[str, Any], **_: Any) -> None:
        if "first" not in data or "last" not in data:
            return
        if data["first"] > data["last"]:
            raise ValidationError(f"must not be after `to`, {data['last']}", "from")
        if data["last"] - data["first"] >= timedelta(days=MOST_DAYS):
            raise ValidationError(f"must be at most {MOST_DAYS} days before `to`, {data['last']}", "from")
