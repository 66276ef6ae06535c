"""Serializer of accounts of spending, as `schemas.views.spending` documents them."""

from typing import Any

from jobs.serializers.values import money_text
from jobs.store.spending import Row, Spend


def serialize_spend(spend: Spend) -> dict[str, Any]:
    """Return an account of spending as `schemas.views.spending.SpendView` documents it."""
    rows = [{"name": row.name, **_spent(row)} for row in spend.rows]
    return {"by": spend.by.value, "rows": rows, **_spent(spend)}


def _spent(spent: Spend | Row) -> dict[str, Any]:
    return {"cost": money_text(spent.cost), "jobs": spent.jobs, "unknown_costs": spent.unknown_costs}
