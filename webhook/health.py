"""/healthz, /readyz and /metrics: for whoever runs it."""

import hmac
from datetime import UTC, datetime

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from jobs.api_keys import KeyRing
from jobs.errors import StoreUnavailable
from jobs.read_models import Lane
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import Services, services

blueprint = Blueprint("health", __name__)
OK = "ok"
NO_KEYS = "none: every producer is refused until BOOMERANG_API_KEYS is set, or boomerang-server keys add made one"


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process lives. It asks nobody else: a dead Redis is no reason to restart this process."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Whether it can do its work, as `schemas.views.Readiness`; 503 while something that it needs is away.

    What is merely switched off (no keys, no callbacks), full or waits (a lane on hold) is said and changes nothing:
    taking the process out of service would only lose callbacks.
    """
    shared = services()
    needed = {"redis": _redis(shared), "broker": _broker(shared)}
    ready = all(said == OK for said in needed.values())
    body = {"ready": ready, "dependencies": needed | _notes(shared, state_answers=needed["redis"] == OK)}
    return json_response(body, 200 if ready else 503)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus' text format."""
    token = services().settings.metrics_token
    given = request.headers.get("Authorization", "").encode("latin-1", "replace")
    if token and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        ask = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        raise ProblemError(401, "Send BOOMERANG_METRICS_TOKEN as a bearer token.", headers=ask)
    return Response(generate_latest(services().counters.registry), content_type=CONTENT_TYPE_LATEST)


def _redis(shared: Services) -> str:
    try:
        shared.store.ping()
        refusal = shared.store.continuity.refusal()
    except StoreUnavailable:
        return "away: BOOMERANG_REDIS_URL does not answer"
    return f"refused: {refusal}" if refusal else OK


def _broker(shared: Services) -> str:
    return OK if shared.ping_broker() else "away: BOOMERANG_BROKER_URL does not answer"


def _notes(shared: Services, *, state_answers: bool) -> dict[str, str]:
    settings = shared.settings
    callbacks = OK
    if not settings.callback_secrets:
        callbacks = "off: BOOMERANG_CALLBACK_SECRETS is not set, every callback is refused; jobs are polled"
    notes = {
        "api_keys": OK if settings.keys or (state_answers and _any_kept(shared)) else NO_KEYS,
        "callbacks": callbacks,
    }
    if state_answers:
        try:
            said = [said for lane in shared.store.lanes.get_all() if (said := _trouble(lane))]
            counts = shared.store.statistics.totals().counts
            room = shared.pressure.note(sum(count for state, count in counts.items() if not state.final))
        except StoreUnavailable:
            return notes
        notes["room"] = room or OK
        notes["lanes"] = "; ".join(said) or OK
    return notes


def _any_kept(shared: Services) -> bool:
    try:
        return any(
            key.opens(datetime.now(UTC))
            for key in KeyRing(shared.store.context.client, shared.store.context.keys).all()
        )
    except StoreUnavailable:
        return False


def _trouble(lane: Lane) -> str | None:
    if not lane.settings:
        return (
            f"{lane.name} is not configured (BOOMERANG_LANES): jobs that wait: {lane.ready}, slots in use: {lane.slots}"
        )
    if lane.open_since:
        return f"{lane.name} does not answer since {lane.open_since}: {lane.reason}; its circuit breaker is open"
    if lane.held:
        return f"{lane.name} is on hold until {lane.held_until}: {lane.reason}"
    return None
