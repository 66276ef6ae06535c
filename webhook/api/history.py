"""/v1/history: how many jobs ended lately, and how long they took."""

from typing import Any

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.serializers.history import serialize_period
from schemas.queries.history import HistoryQuery
from schemas.views.history import HistoryView
from webhook.api.openapi import operation
from webhook.api.ownership import owner
from webhook.http.json_response import json_response
from webhook.services import services

blueprint = Blueprint("history", __name__, url_prefix="/v1", description="The recent past in numbers.")


@operation(blueprint, "GET", "/history", {200: HistoryView}, scope=Scope.READ, query=HistoryQuery, refusals=(422, 503))
def history(query: dict[str, Any]) -> Response:
    """Show how many jobs ended in each minute or hour, what settled them, and how long they waited and took.

    Minutes are kept for two hours, hours for eight days. Only keys with the scope `admin` see what others have done.
    A time is counted in buckets, each wider than the one before by 41 %, so it is about right.
    """
    by, wanted, own = query["by"], query.get("key"), owner()
    past = services().store.history
    read = past.minutes if by == "minute" else past.hours
    # Another producer's history is the same as that of a key that does not exist.
    visible = own is None or wanted in (None, own)
    periods = read(query["count"], wanted if own is None else own) if visible else ()
    return json_response({"by": by, "periods": [serialize_period(each) for each in periods]})
