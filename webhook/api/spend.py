"""/v1/spend: what was spent, on which days, by whom."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.serializers import shown_spend
from jobs.store.spending import By, Only, Spend
from schemas.spending import MOST_DAYS, USUAL_DAYS, SpendQuery, SpendView
from webhook.api.openapi import operation
from webhook.api.ownership import owner
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("spend", __name__, url_prefix="/v1", description="What was spent.")


@operation(blueprint, "GET", "/spend", {200: SpendView}, scope=Scope.READ, query=SpendQuery, refusals=(422, 503))
def spend(query: dict[str, Any]) -> Response:
    """Show what was spent.

    Money counts on the day (UTC) on which its result came, late results and failures that the provider billed with it.
    It is told even of batches that are forgotten; days are kept for more than a year. What others spent is shown to
    keys with the scope `admin` alone.
    """
    days = _days(query.pop("first", None), query.pop("last", None))
    by, whose = By(query.pop("by")), owner()
    if whose is None:
        return json_response(shown_spend(services().store.statistics.spend(by, *days, Only(**query))))
    if query.pop("key", whose) != whose:
        return json_response(shown_spend(Spend(by, ())))  # as of a key that nobody has
    return json_response(shown_spend(services().store.statistics.spend(by, *days, Only(**query, key=whose))))


def _days(first: date | None, last: date | None) -> tuple[date, date]:
    """What was left out stands in relation to what was given."""
    last = last or datetime.now(UTC).date()
    try:
        first = first or last - timedelta(days=USUAL_DAYS - 1)
    except OverflowError:
        first = date.min
    if first > last or last - first >= timedelta(days=MOST_DAYS):
        wrong = {"from": [f"must be one of the {MOST_DAYS} days up to today where `to` is left out"]}
        raise ProblemError(422, "The query breaks rules.", errors=wrong)
    return first, last
