"""/v1/lanes: the accounts at the provider."""

from collections.abc import Iterable
from dataclasses import replace

from flask import Response
from flask_smorest import Blueprint

from jobs.api_keys import Scope
from jobs.liveness import find_troubles
from jobs.read_models import Lane
from jobs.serializers.lanes import serialize_lane
from jobs.serializers.liveness import serialize_liveness
from schemas.views.lanes import LaneList
from webhook.access.auth import caller
from webhook.api.openapi import operation
from webhook.http.json_response import json_response
from webhook.services import services

blueprint = Blueprint("lanes", __name__, url_prefix="/v1", description="Accounts at the provider.")


@operation(blueprint, "GET", "/lanes", {200: LaneList}, scope=Scope.READ, refusals=(503,))
def lanes() -> Response:
    """List the lanes.

    Each with its jobs, its limits, and whether and why it submits nothing. After the configured lanes come those that
    were removed but still have jobs, and pools of jobs that no lane takes. Only keys with the scope `admin` see what
    each lane has spent, and who changed which limits. `troubles` says what keeps the service as a whole from its work.
    """
    pulse = services().store.liveness.pulse()
    return json_response(
        {"lanes": [serialize_lane(lane) for lane in visible_lanes()], **serialize_liveness(pulse, find_troubles(pulse))}
    )


def visible_lanes() -> list[Lane]:
    """Return all lanes, with what the caller may see of each."""
    return visible(services().store.lanes.get_all())


def visible(lanes: Iterable[Lane]) -> list[Lane]:
    """Return lanes with what the caller may see of each: what a lane has spent, and who changed it, is for admins."""
    return list(lanes) if caller().admin else [replace(lane, cost=None, overrides={}) for lane in lanes]
