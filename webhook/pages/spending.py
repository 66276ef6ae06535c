"""Spending: what was spent on some days, by day, key, batch, model, lane or label, and today against caps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
from werkzeug.datastructures import MultiDict

from jobs.api_keys import Scope
from jobs.store.spending import By, Row, Spend
from schemas.queries.spend import BY_LABEL, SPENT_BY, SpendQuery
from webhook.access.auth import caller
from webhook.api.lanes import visible_lanes
from webhook.api.spend import query_days, read_spend
from webhook.http.csv_text import csv_text
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import page, show
from webhook.pages.budgets import read_budgets, spent_today
from webhook.pages.forms import errors_of
from webhook.services import services

#: Rows of the table. The CSV file has all.
MOST_ROWS = 200
#: The value of the choice that needs the name of a label, which is in a field of its own.
_LABEL = "label"
_FIELDS = ("by", _LABEL, "from", "to", "key", "batch", "model", "lane")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the chart: a day, what it cost, and its height in per mille of the highest."""

    day: date
    row: Row
    height: float


@page("/spending", scope=Scope.READ)
def spending() -> ResponseReturnValue:
    """Show what was spent."""
    given = request.args
    view: dict[str, Any] = {"given": given, "groups": _groups(), "errors": {}, **_today()}
    chosen: dict[str, Any] = {name: given[name] for name in _FIELDS if given.get(name)}
    try:
        query = _query(given)
        found, days = read_spend(query), query_days(query)
    except (ValidationError, ProblemError) as error:
        return show("spending.html", **view | {"errors": errors_of(error)}), 422
    columns = list(_columns(found, days)) if found.by is By.DAY else None
    return show(
        "spending.html",
        **view,
        found=found,
        download=url_for("pages.spending_csv", **chosen),
        most_cost=max((row.cost for row in found.rows), default=Decimal(0)),
        days=days,
        columns=columns,
        rows=found.rows[::-1][:MOST_ROWS] if columns else found.rows[:MOST_ROWS],
        by=query["by"],
    )


@page("/files/spending.csv", scope=Scope.READ)
def spending_csv() -> ResponseReturnValue:
    """Download what the page shows, with all rows."""
    try:
        query = _query(request.args)
    except ValidationError as error:
        raise ProblemError(422, "; ".join(errors_of(error).values())) from None
    found = read_spend(query)
    rows = [(row.name, f"{row.cost:f}", str(row.jobs), str(row.unknown_costs)) for row in found.rows]
    text = csv_text([(query["by"], "cost_usd", "jobs", "unknown_costs"), *rows])
    response = Response(text, mimetype="text/csv")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Disposition"] = f'attachment; filename="spending-by-{found.by}.csv"'
    return response


def _query(given: MultiDict[str, str]) -> Mapping[str, Any]:
    """Load the form, whose empty fields are not given. Raises `ValidationError`."""
    fields = {name: given[name].strip() for name in _FIELDS if name != _LABEL and given.get(name, "").strip()}
    if fields.get("by") == _LABEL:
        fields["by"] = BY_LABEL + given.get(_LABEL, "").strip()
    query: Mapping[str, Any] = SpendQuery().load(fields)
    return query


def _groups() -> list[tuple[str, str]]:
    """Return what spending may be grouped by. A producer has one key."""
    return [(by, by) for by in (*SPENT_BY, _LABEL) if by != By.KEY or caller().admin]


def _today() -> dict[str, Any]:
    """Read what was spent today, against caps."""
    budgets, ends = read_budgets(visible_lanes(), services().store.liveness.pulse())
    return {"budgets": budgets, "spent": spent_today(budgets), "ends": ends}


def _columns(found: Spend, days: tuple[date, date]) -> Iterator[Column]:
    """Yield a column for each day, also for those on which nothing was spent."""
    rows = {row.name: row for row in found.rows}
    most = max((row.cost for row in found.rows), default=Decimal(0))
    first, last = days
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        row = rows.get(day.isoformat()) or Row(day.isoformat(), Decimal(0), 0)
        yield Column(day, row, float(1000 * row.cost / most) if most else 0.0)
