"""/v1/spend: what was spent, by day, key, batch, model or lane."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.serializers import serialize_spend
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
    days = _days(query.pop("first", None), query.pop("last", None))
    by, key = query.pop("by"), owner()
    if by.startswith(BY_LABEL):
        return _by_label(by, days, query.get("key", key), key)
    by = By(by)
    if key is None:
        return json_response(serialize_spend(services().store.statistics.spend(by, *days, Only(**query))))
    if query.pop("key", key) != key:
        return json_response(serialize_spend(Spend(by, ())))  # the same as for a key that does not exist
    return json_response(serialize_spend(services().store.statistics.spend(by, *days, Only(**query, key=key))))


def _by_label(by: str, days: tuple[date, date], wanted: str | None, key: str | None) -> Response:
    """Answer by the values of a label. `wanted`: only this key's spending; `key`: the one that may be seen."""
    found = Spend(By.LABEL, ())
    if key in (None, wanted):
        found = services().store.statistics.spend_by_label(by.removeprefix(BY_LABEL), *days, wanted)
    return json_response({**serialize_spend(found), "by": by})


def _days(first: date | None, last: date | None) -> tuple[date, date]:
    """Return the first and last day, with defaults for those not given."""
    last = last or datetime.now(UTC).date()
    try:
        first = first or last - timedelta(days=USUAL_DAYS - 1)
    except OverflowError:
        first = date.min
    if first > last or last - first >= timedelta(days=MOST_DAYS):
        errors = {"from": [f"is {first}; without `to`, it must be one of the {MOST_DAYS} days up to today"]}
        raise ProblemError(422, "The query is not valid; `errors` names each parameter.", errors=errors)
    return first, last
