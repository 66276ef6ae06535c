"""A lane, and the list of lanes."""

from marshmallow import Schema, fields, validate

from schemas.views.fields import described, instant, money
from schemas.views.limits import OverrideView
from schemas.views.liveness import last_round_age, troubles


class LaneChange(Schema):
    """A change of a lane's learned limit or circuit breaker."""

    at = instant("When it changed.", required=True)
    what = fields.String(
        required=True,
        validate=validate.OneOf(("limit", "opened", "closed")),
        metadata=described("limit: the learned limit changed. opened, closed: the circuit breaker did.", "limit"),
    )
    limit = fields.Float(
        required=True, allow_none=True, metadata=described("The learned limit after the change.", 14.7)
    )
    reason = fields.String(
        required=True, metadata=described("Why it changed.", "429: 1303 parallel task over resource pack limit")
    )


class LaneView(Schema):
    """A lane (account at the provider): what it works on, its limits, and why it waits."""

    name = fields.String(required=True, metadata=described("Name of the lane.", "main"))
    configured = fields.Boolean(
        required=True,
        metadata=described("false: BOOMERANG_LANES names no such lane, and the jobs that need it cannot go on."),
    )
    pool = fields.String(
        required=True, metadata=described("Pool that its jobs wait in. Empty if the lane takes any job.", "")
    )
    models = fields.List(
        fields.String(), required=True, metadata=described("Models that the lane takes. Empty: any.", ["kirin_v2_1_*"])
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("Labels that a job must have to use the lane.", {"shop": "berlin"}),
    )
    slots = fields.Integer(required=True, metadata=described("Images that the provider may be working on now.", 12))
    overrides = fields.List(
        fields.Nested(OverrideView),
        required=True,
        metadata=described("Limits that differ from the configured ones. Empty for keys without the scope admin."),
    )
    max_in_flight = fields.Integer(required=True, metadata=described("Limit of slots in use. 0: no limit.", 64))
    learned_limit = fields.Float(
        required=True, allow_none=True, metadata=described("Learned limit of slots in use. null: not learned.", 23.4)
    )
    limit = fields.Integer(required=True, metadata=described("The smaller of the two limits. 0: no limit.", 23))
    submit_rate = fields.Float(required=True, metadata=described("Most submissions per second. 0: no limit.", 5.0))
    max_cost_per_day = money(
        "Most that the lane's jobs may cost in a day, or null for no limit.", required=True, allow_none=True
    )
    window = fields.Integer(
        required=True, metadata=described("Images of dispatched jobs: admitted, on the way to a worker.", 48)
    )
    ready = fields.Integer(required=True, metadata=described("Number of jobs that wait in the lane's pool.", 3400))
    held = fields.Boolean(
        required=True,
        metadata=described("Whether the lane submits nothing: because of a pause, a hold, or an open circuit breaker."),
    )
    paused = fields.Boolean(required=True, metadata=described("Whether an operator has paused it."))
    held_since = instant("When the pause or hold began, otherwise null.", required=True, allow_none=True)
    held_until = instant(
        "When the pause or hold ends, or the circuit breaker probes next; otherwise null.",
        required=True,
        allow_none=True,
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata=described("Why the lane submits nothing, otherwise null.", "402: balance exhausted"),
    )
    breaker = fields.String(
        required=True,
        validate=validate.OneOf(("closed", "open")),
        metadata=described("open: the provider does not answer, and the lane probes it until it does.", "closed"),
    )
    breaker_since = instant("When the circuit breaker opened, otherwise null.", required=True, allow_none=True)
    breaker_opened = fields.Integer(required=True, metadata=described("How often the circuit breaker has opened.", 2))
    history = fields.List(
        fields.Nested(LaneChange), required=True, metadata=described("The last 50 changes, newest first.")
    )
    spent = money(
        "Cost of all results so far, late ones included. null for keys without the scope admin.",
        required=True,
        allow_none=True,
    )


class LaneList(Schema):
    """All lanes, and what keeps the service as a whole from its work."""

    lanes = fields.List(fields.Nested(LaneView), required=True)
    troubles = troubles()
    last_round_age = last_round_age()
