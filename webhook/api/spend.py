"""/v1/spend: what was spent, by day, key, batch, model or lane."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.serializers.spending import serialize_spend
from jobs.store.spending import By, Only, Spend
from schemas.queries.spend import BY_LABEL, MOST_DAYS, USUAL_DAYS, SpendQuery
from schemas.views.spending import SpendView
from webhook.api.openapi import operation
from webhook.api.ownership import owner
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("spend", __name__, url_prefix="/v1", description="Spending.")


@operation(blueprint, "GET", "/spend", {200: SpendView}, scope=Scope.READ, query=SpendQuery, refusals=(422, 503))
def spend(query: dict[str, Any]) -> Response:
    """Show what was spent.

    A cost counts on the day (UTC) on which its result came, including late results and failures that the provider
    billed. It counts even if the batch was deleted since. The service keeps days for more than a year. Only keys with
    the scope `admin` see what others have spent.

    With `by=label:<name>` each row is a value of that label of the job or, if the job has none of this name, of its
    batch. A day keeps 20,000 values of all labels together; further ones are one row without a name.
    """
    return json_response({**serialize_spend(read_spend(query)), "by": query["by"]})


def read_spend(query: Mapping[str, Any]) -> Spend:
    """Return the spending that a loaded `SpendQuery` asks for, of what the caller may see. Raises a problem, 422."""
    days, only = query_days(query), owner()
    wanted = query.get("key", only)
    by = By.LABEL if query["by"].startswith(BY_LABEL) else By(query["by"])
    if only not in (None, wanted):
        return Spend(by, ())  # the same as for a key that does not exist
    statistics = services().store.statistics
    if by is By.LABEL:
        return statistics.spend_by_label(query["by"].removeprefix(BY_LABEL), *days, wanted)
    filters = {name: query[name] for name in ("batch", "model", "lane") if name in query}
    return statistics.spend(by, *days, Only(**filters, key=wanted))


def query_days(query: Mapping[str, Any]) -> tuple[date, date]:
    """Return the first and last day of a loaded `SpendQuery`, with defaults for those not given.

    Raises a problem, 422.
    """
    first: date | None = query.get("first")
    last: date = query.get("last") or datetime.now(UTC).date()
    try:
        first = first or last - timedelta(days=USUAL_DAYS - 1)
    except OverflowError:
        first = date.min
    if first > last or last - first >= timedelta(days=MOST_DAYS):
        errors = {"from": [f"is {first}; without `to`, it must be one of the {MOST_DAYS} days up to today"]}
        raise ProblemError(422, "The query is not valid; `errors` names each parameter.", errors=errors)
    return first, last
