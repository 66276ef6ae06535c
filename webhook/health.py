"""/healthz, /readyz and /metrics, for operators."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from jobs.api_keys import KeyRing
from jobs.errors import StoreUnavailable
from jobs.liveness import Trouble, TroubleCode
from jobs.read_models import Lane
from jobs.serializers.liveness import serialize_liveness
from webhook.access.auth import authenticator
from webhook.condition import OK, Condition, examine
from webhook.http.connection import Direction, connection_of
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import Services, services

blueprint = Blueprint("health", __name__)
#: The words with which a dependency's text begins that anybody may read. What follows is for operators.
_PUBLIC = re.compile(r"(?:ok|down|off|none|refused)\b")
OLD_RULES = (
    "refused: Redis has the access rules of the version before, so keys of this version are not valid. Restart Redis "
    "with the files of ops/access"
)
NO_KEYS = "none: every producer is refused. Set BOOMERANG_API_KEYS, or make a key with `boomerang-server keys add`"


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer that the process is alive. It checks no dependency: restarting it would not repair Redis."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer whether the process can work, as `schemas.views.problems.Readiness`: 503 if Redis or the broker is down.

    The answer also names what is not configured, full, on hold or stalled, but stays 200: taking the process out of
    service would only lose callbacks. Without the metrics token or an administrator's key it names no lane, and does
    not repeat the provider's answers.
    """
    shared, detailed = services(), _may_read_details()
    now, found = shared.readiness.run(partial(_examine, shared))
    notes = dict(found)
    troubles = now.troubles if detailed else tuple(map(_public, now.troubles))
    if now.pulse:
        notes["workers"] = "; ".join(f"{each.code}: {each.what}" for each in troubles) or OK
    notes = {"redis": now.redis, "broker": now.broker, **notes}
    body = {"ready": now.ready, "dependencies": notes if detailed else _without_details(notes)}
    return json_response(body | serialize_liveness(now.pulse, troubles), 200 if now.ready else 503)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Answer with all metrics, in the text format of Prometheus. They name lanes and spending."""
    if not authenticator().may_read_details():
        challenge = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        detail = "Send BOOMERANG_METRICS_TOKEN, or an administrator's key, as a bearer token."
        raise ProblemError(401, detail, headers=challenge)
    if connection := connection_of(request.environ):
        connection.wait_for(Direction.ANSWER, allowed=True)
    return Response(generate_latest(services().counters.registry), content_type=CONTENT_TYPE_LATEST)


def _examine(shared: Services) -> tuple[Condition, Mapping[str, str]]:
    now = examine(shared)
    return now, _notes(shared, store_answers=now.redis == OK)


def _may_read_details() -> bool:
    """Return whether the caller may read details. A wrong or unverifiable key must not make the process unready."""
    try:
        return authenticator().may_read_details()
    except (ProblemError, StoreUnavailable):
        return False


def _without_details(notes: Mapping[str, str]) -> dict[str, str]:
    """Keep the first word of each note. `workers` has only our own texts."""
    return {
        name: note if name == "workers" else found[0] if (found := _PUBLIC.match(note)) else "not ok"
        for name, note in notes.items()
    }


def _public(trouble: Trouble) -> Trouble:
    """Return a trouble without the reason that Redis holds."""
    if trouble.code is not TroubleCode.REFUSED:
        return trouble
    return replace(trouble, what="no work is accepted: Redis does not hold the jobs that it should hold")


def _notes(shared: Services, *, store_answers: bool) -> dict[str, str]:
    settings = shared.settings
    callbacks = OK
    if not settings.callback_secrets:
        callbacks = "off: BOOMERANG_CALLBACK_SECRETS is not set. Callbacks are refused, and every job is polled"
    notes = {
        "api_keys": _note_of_keys(shared, store_answers=store_answers),
        "callbacks": callbacks,
    }
    if store_answers:
        try:
            problems = [problem for lane in shared.store.lanes.get_all() if (problem := _problem(lane))]
            counts = shared.store.statistics.totals().counts
            full = shared.pressure.warning(sum(count for state, count in counts.items() if not state.final))
        except StoreUnavailable:
            return notes
        notes["room"] = full or OK
        notes["lanes"] = "; ".join(problems) or OK
    return notes


def _note_of_keys(shared: Services, *, store_answers: bool) -> str:
    made = False
    if store_answers:
        ring = KeyRing(shared.store.context.client, shared.store.context.keys)
        try:
            if not ring.readable:
                return OLD_RULES
            made = not shared.settings.keys and any(key.opens(datetime.now(UTC)) for key in ring.all())
        except StoreUnavailable:
            pass
    return OK if shared.settings.keys or made else NO_KEYS


def _problem(lane: Lane) -> str | None:
    if not lane.settings:
        return f"{lane.name} is not in BOOMERANG_LANES, but has jobs left: {lane.ready} wait, {lane.slots} slots in use"
    if lane.open_since:
        return f"{lane.name} has not answered since {lane.open_since}, and its circuit breaker is open: {lane.reason}"
    if lane.held:
        return f"{lane.name} is on hold until {lane.held_until}: {lane.reason}"
    return None
