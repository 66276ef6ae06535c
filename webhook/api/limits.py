"""PATCH /v1/lanes/<name> and /v1/keys/<name>/limits: limits that change while the service runs."""

from typing import Any, ClassVar

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from jobs.api_keys import KeyRing, Scope
from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneLimitsSchema
from jobs.limits import Subject
from jobs.owners import CELERY
from jobs.serializers.lanes import serialize_key_limits, serialize_lane
from jobs.task_names import SUBMIT
from schemas.body import parse_json
from schemas.requests.messages import paths
from schemas.views.lanes import LaneView
from schemas.views.limits import KeyLimitsView
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.openapi import JSON, operation
from webhook.http.bodies import read_decoded
from webhook.http.json_response import json_response
from webhook.http.problems import ProblemError
from webhook.services import services

blueprint = Blueprint("limits", __name__, url_prefix="/v1", description="Limits that change while the service runs.")

#: Bytes of a body.
_MOST_BODY = 64 * 1024
#: Seconds. A change that holds for longer is one of the configuration.
_LONGEST = 366 * 86_400


class _Patch(Schema):
    """What every change of limits has beside the limits."""

    reset = fields.List(
        fields.String(),
        load_default=list,
        metadata={"description": "Limits that get their configured values back.", "example": ["max_cost_per_day"]},
    )
    reason = fields.String(
        load_default="",
        validate=validate.Length(max=200, error="must have at most 200 characters"),
        metadata={
            "description": "Why, for other operators. Of a paused lane, producers see it, too.",
            "example": "the provider has trouble with more",
        },
    )
    expires_in = fields.Float(
        load_default=None,
        allow_none=True,
        validate=validate.Range(1, _LONGEST, error=f"must be from 1 to {_LONGEST:,} seconds"),
        metadata={"description": "Seconds after which the change ends. Default: it has no end.", "example": 3600},
    )
    limits: ClassVar[type[Schema]]

    @validates_schema
    def _check_reset(self, data: dict[str, Any], **_: Any) -> None:
        known = self.limits().fields
        if unknown := [name for name in data.get("reset", ()) if name not in known]:
            raise ValidationError(f"knows no limit {', '.join(unknown)}; there are {', '.join(known)}", "reset")
        if both := [name for name in data.get("reset", ()) if name in data]:
            raise ValidationError(f"names {', '.join(both)}, which this request also changes; leave one out", "reset")


class LanePatch(_Patch, LaneLimitsSchema):
    """A change of a lane. Limits that it does not name stay as they are."""

    limits = LaneLimitsSchema
    paused = fields.Boolean(
        metadata={"description": "true: submit nothing through the lane. false: go on. Left out: as it was."}
    )


class KeyLimitsPatch(_Patch, KeyLimitsSchema):
    """A change of a key's limits. Limits that it does not name stay as they are."""

    limits = KeyLimitsSchema


def _body(schema: type[Schema]) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": schema(partial=True)}}}


@operation(
    blueprint,
    "PATCH",
    "/lanes/<lane>",
    {200: LaneView},
    scope=Scope.ADMIN,
    request_body=_body(LanePatch),
    refusals=(400, 404, 411, 413, 422, 503),
)
def change_lane(lane: str) -> Response:
    """Change the limits of a lane, pause it, or resume it.

    The change is in force within two seconds, in every process, and restarts do not end it. It ends after `expires_in`
    seconds, if you give that: then the configured limits are back, or the pause is over. A pause holds back all jobs
    that are not submitted yet; the provider goes on with the tasks that it has. Routes of jobs (`models`, `labels`)
    cannot be changed.
    """
    check_lane(lane)
    apply_to_lane(lane, load_change(LanePatch, _json()))
    return json_response(serialize_lane(services().store.lanes.get(lane)))


def check_lane(lane: str) -> None:
    """Raise a problem, 404, unless the lane is configured."""
    if lane not in {each.name for each in services().settings.lanes}:
        raise ProblemError(404, f"No lane {lane} is configured (BOOMERANG_LANES). GET /v1/lanes lists those that are.")


def apply_to_lane(lane: str, change: dict[str, Any]) -> None:
    """Change the limits of a lane, pause it or resume it, as a loaded `LanePatch` says."""
    shared, paused = services(), change.pop("paused", None)
    if paused is not None:
        annotate(paused=paused)
    if paused:
        shared.store.lanes.pause(lane, change["reason"], expires_in=change["expires_in"])
    _change(Subject.LANE, lane, LaneLimitsSchema, change)
    hint = paused is False and shared.store.lanes.resume(lane)
    if hint or paused is None:
        shared.send(SUBMIT)


@operation(blueprint, "GET", "/keys/<producer>/limits", {200: KeyLimitsView}, scope=Scope.ADMIN, refusals=(404, 503))
def show_key_limits(producer: str) -> Response:
    """Show the limits of a producer's keys.

    `celery` stands for all jobs that come through Celery.
    """
    return json_response(view_of_key(known_producer(producer)))


@operation(
    blueprint,
    "PATCH",
    "/keys/<producer>/limits",
    {200: KeyLimitsView},
    scope=Scope.ADMIN,
    request_body=_body(KeyLimitsPatch),
    refusals=(400, 404, 411, 413, 422, 503),
)
def change_key_limits(producer: str) -> Response:
    """Change the limits of a producer's keys.

    The change is in force within two seconds, in every process, and restarts do not end it. It ends after `expires_in`
    seconds, if you give that: then the configured limits are back.
    """
    name = known_producer(producer)
    apply_to_key(name, load_change(KeyLimitsPatch, _json()))
    return json_response(view_of_key(name))


def apply_to_key(name: str, change: dict[str, Any]) -> None:
    """Change the limits of a producer's keys, as a loaded `KeyLimitsPatch` says."""
    _change(Subject.KEY, name, KeyLimitsSchema, change)
    services().send(SUBMIT)


def _json() -> Any:
    """Return the value in the body. Raises a problem, 400."""
    return parse_json(read_decoded(request, _MOST_BODY, services().memory.for_body()))


def load_change(schema: type[_Patch], data: Any) -> dict[str, Any]:
    """Validate a change. Raises a problem, 422."""
    if not isinstance(data, dict):
        raise ProblemError(422, "The change is not a JSON object; nothing was changed.")
    try:
        loaded: dict[str, Any] = schema().load(data, partial=tuple(schema.limits().fields))
    except ValidationError as error:
        raise ProblemError(422, "The change is not valid; nothing was changed.", errors=paths(error.messages)) from None
    return loaded


def _change(subject: Subject, name: str, limits: type[Schema], change: dict[str, Any]) -> None:
    values = {limit: change[limit] for limit in limits().fields if limit in change}
    annotate(**{limit: "none" if value is None else value for limit, value in values.items()})
    annotate(**{each: change[each] for each in ("reset", "reason", "expires_in") if change[each]})
    services().store.context.limits.change(
        subject,
        name,
        values,
        reset=change["reset"],
        by=caller().key,
        reason=change["reason"],
        expires_in=change["expires_in"],
    )


def known_producer(producer: str) -> str:
    """Return the name of a producer, given it or the id of one of its keys. Raises a problem, 404."""
    shared = services()
    made = KeyRing(shared.store.context.client, shared.store.context.keys).all()
    by_id = {key.id: key.name for key in made}
    known = {CELERY, *shared.settings.key_limits, *by_id.values(), *(key.name for key in shared.settings.keys)}
    if producer in known:
        return producer
    if producer in by_id:
        return by_id[producer]
    raise ProblemError(404, f"There is no key {producer}. `boomerang-server keys list` lists those that it made.")


def view_of_key(name: str) -> dict[str, Any]:
    """Return the limits of a producer's keys as `schemas.views.limits.KeyLimitsView` documents them."""
    shared = services()
    limits = shared.store.context.limits
    overrides = limits.overrides(Subject.KEY, name)
    in_force, configured = limits.in_force().key_limits, shared.settings.key_limits
    return serialize_key_limits(name, in_force.get(name, KeyLimits()), configured.get(name, KeyLimits()), overrides)
