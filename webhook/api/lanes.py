"""/v1/lanes: the provider's accounts."""

from dataclasses import replace

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.serializers import serialize_lane
from schemas.views import LaneList
from webhook.access.auth import caller
from webhook.api.openapi import operation
from webhook.http.json_response import json_response
from webhook.services import services

blueprint = Blueprint("lanes", __name__, url_prefix="/v1", description="The ways to the provider.")


@operation(blueprint, "GET", "/lanes", {200: LaneList}, scope=Scope.READ, refusals=(503,))
def lanes() -> Response:
    """Show the ways to the provider.

    What is under way, what waits, the limits, and whether and why nothing is being sent. After the lanes that are
    configured come those that are not and have jobs left, and pools of jobs that no lane takes. What was spent through
    them is shown to keys with the scope `admin` alone.
    """
    known = services().store.lanes.get_all()
    told = known if caller().admin else [replace(lane, cost=None) for lane in known]
    return json_response({"lanes": [serialize_lane(lane) for lane in told]})
