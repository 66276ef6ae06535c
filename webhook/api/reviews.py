"""/v1/jobs/<id>/outputs/<index>/review: what a person thinks of an output."""

import re
from collections.abc import Mapping
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import ValidationError

from jobs.api_keys import Scope
from jobs.producer_ids import owner_in
from jobs.review import Verdict
from jobs.serializers.jobs import serialize_job
from schemas import parse_json
from schemas.requests.messages import paths
from schemas.views.jobs import JobView
from schemas.views.reviews import ReviewRequest
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import JSON, examples, operation
from webhook.http.bodies import read_decoded
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.links import links
from webhook.services import services

blueprint = Blueprint("reviews", __name__, url_prefix="/v1", description="What people think of outputs.")

#: Bytes of a body.
_MOST_BODY = 8 * 1024
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "star": {"verdict": "accepted", "starred": True},
    "reject": {"verdict": "rejected", "note": "The left paw has six toes."},
    "remove": {},
}
_INDEX = re.compile(r"0|[1-9][0-9]{0,3}")


@operation(
    blueprint,
    "PUT",
    "/jobs/<job_id>/outputs/<index>/review",
    {200: JobView},
    scope=Scope.ENQUEUE,
    request_body={"required": True, "content": {JSON: {"schema": ReviewRequest, "examples": examples(_EXAMPLES)}}},
    refusals=(400, 404, 409, 411, 413, 422, 503),
)
def put(job_id: str, index: str) -> Response:
    """Review an output: accept, reject or star it.

    The body replaces the earlier review; an empty object removes it. The reviewer's key and the time are kept. The
    answer is the job with its reviews. An output that does not exist gets 409. `GET /v1/batches/<id>/results?review=…`
    selects jobs by their reviews.
    """
    data = parse_json(read_decoded(request, _MOST_BODY, services().memory.for_body()))
    if not isinstance(data, dict):
        raise ProblemError(422, "The review is not a JSON object; nothing was changed.")
    try:
        given: dict[str, Any] = ReviewRequest().load(data)
    except ValidationError as error:
        raise ProblemError(422, "The review is not valid; nothing was changed.", errors=paths(error.messages)) from None
    review(job_id, index, given)
    store = services().store
    return json_response(serialize_job(store.jobs.show(job_id), links(), reviews=store.reviews.of([job_id])[0]))


def review(job_id: str, index: str, given: dict[str, Any]) -> None:
    """Record what the caller thinks of an output: the use case of the API and of the pages.

    `given`: a loaded `ReviewRequest`. Raises a problem: 404 for an output that cannot exist, 429 where the memory of
    the caller's key is full; and `JobNotFound` and `NotAllowed`.
    """
    shared = services()
    if not _INDEX.fullmatch(index):
        raise ProblemError(404, f"Outputs are numbered from 0; {index[:20]!r} is no such number.")
    verdict = Verdict(given["verdict"]) if given["verdict"] else None
    owner = owner_in(job_id) or caller().name
    if any(given.values()) and shared.pressure.full(len(given["note"]), owner):
        raise shared.pressure.refused("The review was not recorded. Send it again later.", owner=owner)
    outcome = shared.store.reviews.review(
        job_id,
        int(index),
        verdict,
        starred=given["starred"],
        note=given["note"],
        by=caller().key,
        caller=caller().owner,
    )
    annotate(job_id=job_id, output=index, verdict=given["verdict"] or "none", outcome=outcome.value)
