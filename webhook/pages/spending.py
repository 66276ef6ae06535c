"""Spending: what was spent on some days, by day, key, batch, model, lane or label, and today against caps."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
from werkzeug.datastructures import MultiDict

from jobs.api_keys import Scope
from jobs.store.spending import By, Spend
from schemas.queries.spend import BY_LABEL, SPENT_BY, SpendQuery
from webhook.access.auth import caller
from webhook.api.lanes import visible_lanes
from webhook.api.spend import query_days, read_spend
from webhook.http.csv_text import csv_text
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import page, show
from webhook.pages.budgets import read_budgets, spent_today
from webhook.pages.charts import Columns, columns
from webhook.pages.formats import dollars
from webhook.pages.forms import errors_of
from webhook.services import services

#: Rows of the table. The CSV file has all.
MOST_ROWS = 200
#: The value of the choice that needs the name of a label, which is in a field of its own.
_LABEL = "label"
_FIELDS = ("by", _LABEL, "from", "to", "key", "batch", "model", "lane")


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
    by_day = found.by is By.DAY
    return show(
        "spending.html",
        **view,
        found=found,
        download=url_for("pages.spending_csv", **chosen),
        days=days,
        chart=_chart(found, days) if by_day and found.rows else None,
        rows=found.rows[::-1][:MOST_ROWS] if by_day else found.rows[:MOST_ROWS],
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


def _chart(found: Spend, days: tuple[date, date]) -> Columns:
    """Draw a column for each day, also for those on which nothing was spent."""
    costs = {row.name: row.cost for row in found.rows}
    first, last = days
    names = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
    return columns([(f"{day}: {dollars(costs.get(day, 0))}", {"first": float(costs.get(day, 0))}) for day in names])
