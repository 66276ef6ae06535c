"""What was spent."""

from marshmallow import Schema, fields

from schemas.views.fields import described


def _cost(description: str) -> fields.Decimal:
    return fields.Decimal(as_string=True, required=True, metadata=described(description, "12.5"))


class SpendRow(Schema):
    """What was spent on one day, or by one key, batch, model or lane."""

    name = fields.String(
        required=True,
        metadata=described(
            "The day, key, batch, model, lane or value of the label. Empty: no key, no batch, or further values.",
            "shop",
        ),
    )
    cost = _cost("USD, a decimal string.")
    jobs = fields.Integer(
        required=True, metadata=described("Number of results, and of failures that the provider billed.", 1923)
    )
    unknown_costs = fields.Integer(
        required=True, metadata=described("Number of results whose cost is unknown, and not part of `cost`.", 0)
    )


class SpendView(Schema):
    """What was spent. Days in order, other rows by falling cost."""

    by = fields.String(required=True, metadata=described("What the rows stand for, as in the query.", "day"))
    rows = fields.List(fields.Nested(SpendRow), required=True)
    cost = _cost("Sum of all rows. USD, a decimal string.")
    jobs = fields.Integer(required=True, metadata=described("Sum of all rows.", 1923))
    unknown_costs = fields.Integer(required=True, metadata=described("Sum of all rows.", 0))
