"""Parse reports of spending."""

from decimal import Decimal

from boomerang_client.parsing.values import MALFORMED, as_money, as_object, unexpected
from boomerang_client.responses import Spend, SpendRow


def read_spend(data: object) -> Spend:
    """Parse a spending report. Raises UnexpectedAnswer."""
    view = as_object(data, "spend")
    try:
        rows = tuple(
            SpendRow(name=str(row["name"]), cost=as_money(row["cost"]) or Decimal(0), jobs=int(row.get("jobs") or 0))
            for row in view["rows"]
        )
        return Spend(
            by=str(view["by"]),
            rows=rows,
            cost=as_money(view.get("cost")) or sum((row.cost for row in rows), Decimal(0)),
            jobs=int(view.get("jobs") or sum(row.jobs for row in rows)),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("spend", problem) from problem
