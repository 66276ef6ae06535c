"""What our API shows. Each schema dumps plain dicts, and is the OpenAPI document's source."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from schemas.requests.base import PRIORITIES
from schemas.states import JOB_STATES

_CREATED = datetime(2026, 1, 31, 12, 0, tzinfo=UTC).isoformat()


def _about(description: str, example: Any = None) -> dict[str, Any]:
    return {"description": description} | ({} if example is None else {"example": example})


def _instant(description: str, **options: Any) -> fields.DateTime:
    return fields.AwareDateTime(
        format="iso", default_timezone=UTC, metadata=_about(f"{description} ISO 8601, UTC.", _CREATED), **options
    )


def _money(description: str, **options: Any) -> fields.Decimal:
    return fields.Decimal(as_string=True, metadata=_about(f"{description} USD, a decimal string.", "0.0065"), **options)


def _external_id() -> fields.String:
    return fields.String(
        required=True, metadata=_about("The id that the last attempt was sent under.", "order-4711.front~2")
    )


class OutputView(Schema):
    type = fields.String(required=True, metadata=_about("Kind of resource.", "image"))
    url = fields.String(
        required=True, metadata=_about("Where it is. Fetch it promptly: the provider deletes results after some time.")
    )


class ErrorView(Schema):
    code = fields.String(required=True, metadata=_about("The provider's code, empty where it gave none.", "002016095"))
    message = fields.String(
        required=True, metadata=_about("What went wrong, in the provider's words.", "Internal generation error")
    )


class UsageView(Schema):
    cost = _money("What the job cost; null where the provider named no price.", required=True, allow_none=True)
    discount = fields.Raw(allow_none=True, metadata=_about("As the provider gave it."))


class JobView(Schema):
    """One job."""

    id = fields.String(
        required=True, metadata=_about("Your external_task_id, or the one made for you.", "order-4711.front")
    )
    status = fields.String(
        required=True,
        validate=validate.OneOf(JOB_STATES),
        metadata=_about("Where the job is in its life.", "completed"),
    )
    model = fields.String(required=True, metadata=_about("Model ID.", "kirin_image_omni"))
    output = fields.List(
        fields.Nested(OutputView), required=True, metadata=_about("The results; empty until completed.")
    )
    error = fields.Nested(ErrorView, required=True, allow_none=True, metadata=_about("Why it failed, else null."))
    usage = fields.Nested(UsageView, required=True, allow_none=True, metadata=_about("What it cost, once known."))
    attempt = fields.Integer(
        required=True, metadata=_about("Counts from 1. A new attempt follows a failure worth retrying.", 1)
    )
    external_task_id = _external_id()
    created_at = _instant("Accepted.", required=True)
    updated_at = _instant("Last change.", required=True)
    finished_at = _instant("End, else null.", required=True, allow_none=True)
    settled_by = fields.String(
        required=True,
        allow_none=True,
        metadata=_about("Who brought the end: callback, poll, submit, cancel, deadline, hand …", "callback"),
    )
    batch = fields.String(required=True, allow_none=True, metadata=_about("The batch it came in, else null."))
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=_about("Your own marks.", {"shop": "berlin"}),
    )
    priority = fields.String(
        required=True, metadata=_about("Its class: high, normal or low. Higher ones go first.", "normal")
    )
    expires_at = _instant(
        "When it ends as expired, unpaid, if it has not been begun; else null.", required=True, allow_none=True
    )
    lane = fields.String(
        required=True,
        allow_none=True,
        metadata=_about("The provider's account that this attempt was given to, else null.", "default"),
    )
    reason = fields.String(
        required=True, allow_none=True, metadata=_about("What it waits for, where that is worth saying.")
    )


class JobList(Schema):
    """A page of jobs."""

    jobs = fields.List(fields.Nested(JobView), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata=_about("Give it back for the next page; null on the last.")
    )


class LineError(Schema):
    """A line of an upload that was refused."""

    line = fields.Integer(required=True, metadata=_about("Counts from 1.", 7))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        required=True,
        metadata=_about("Field path to what is wrong with it and what to do.", {"n": ["must be from 1 to 9, not 12"]}),
    )
    codes = fields.List(
        fields.String(), required=True, metadata=_about("The provider's codes for these mistakes.", ["002016003"])
    )


class BatchAccepted(Schema):
    """What became of an upload."""

    id = fields.String(required=True, metadata=_about("The batch's id.", "spring-catalogue"))
    accepted = fields.Integer(required=True, metadata=_about("New jobs.", 998))
    known = fields.Integer(required=True, metadata=_about("Lines whose job existed already, with the same request.", 0))
    rejected = fields.Integer(required=True, metadata=_about("Lines refused, also those beyond the list.", 2))
    errors = fields.List(fields.Nested(LineError), required=True, metadata=_about("The first 1,000 refused lines."))


class ImageView(Schema):
    """A stored image."""

    id = fields.String(
        required=True,
        metadata=_about("What a request may give for an image.", "image:sha256:" + "9f86d081884c7d65" * 4),
    )
    size = fields.Integer(required=True, metadata=_about("Bytes.", 8_123_456))
    width = fields.Integer(required=True, metadata=_about("Pixels.", 2048))
    height = fields.Integer(required=True, metadata=_about("Pixels.", 1365))
    format = fields.String(
        required=True, validate=validate.OneOf(("png", "jpeg")), metadata=_about("png or jpeg.", "jpeg")
    )


class CountsView(Schema):
    """Jobs per state; every state is there."""

    queued = fields.Integer(required=True)
    submitting = fields.Integer(required=True)
    in_doubt = fields.Integer(required=True)
    in_progress = fields.Integer(required=True)
    completed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    cancelled = fields.Integer(required=True)
    expired = fields.Integer(required=True)


class BatchView(Schema):
    """A batch and how far it is. `accepted` is the sum of `counts`."""

    id = fields.String(required=True, metadata=_about("The batch's id.", "spring-catalogue"))
    accepted = fields.Integer(required=True, metadata=_about("Jobs in it.", 998))
    counts = fields.Nested(CountsView, required=True)
    done = fields.Boolean(required=True, metadata=_about("Whether every job has ended."))
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata=_about("How many failed, by error code.", {"002016095": 4}),
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=_about("Your own marks on it.", {"season": "spring"}),
    )
    priority = fields.String(
        required=True, validate=validate.OneOf(PRIORITIES), metadata=_about("The class of its jobs.", "normal")
    )
    weight = fields.Integer(required=True, metadata=_about("Its share beside others of its key's.", 1))
    max_cost = _money("What it may cost at most, else null.", required=True, allow_none=True)
    rate = fields.Float(required=True, metadata=_about("Jobs that ended a second, over the last minute.", 12.5))
    eta = fields.Float(
        required=True,
        allow_none=True,
        metadata=_about("Seconds until all have ended, as things go; null where that is not known.", 640.0),
    )
    paused = fields.Boolean(
        required=True, metadata=_about("Whether its waiting jobs are held back, on request or at its max_cost.")
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata=_about("Why it is paused, or what its jobs wait for, where that is worth saying."),
    )
    cost = _money("What its jobs cost so far.", required=True)
    expected_cost = _money(
        "What it will have cost in the end, going by what such jobs cost lately; null where that is not known.",
        required=True,
        allow_none=True,
    )
    created_at = _instant("Begun.", required=True)


class BatchList(Schema):
    """A page of batches."""

    batches = fields.List(fields.Nested(BatchView), required=True)
    cursor = fields.String(
        required=True, allow_none=True, metadata=_about("Give it back for the next page; null on the last.")
    )


class BatchChanged(Schema):
    """What was done to a batch."""

    id = fields.String(required=True, metadata=_about("The batch's id.", "spring-catalogue"))
    action = fields.String(required=True, metadata=_about("pause, resume, cancel or retry.", "cancel"))
    affected = fields.Integer(required=True, metadata=_about("Jobs changed, held or let go so far.", 40_000))
    pending = fields.Integer(
        required=True, metadata=_about("Jobs, at most, that are still to be changed; that goes on by itself.", 0)
    )


class LaneChange(Schema):
    """Something that became of a lane."""

    at = _instant("When.", required=True)
    what = fields.String(
        required=True,
        validate=validate.OneOf(("limit", "opened", "closed")),
        metadata=_about("The learned limit changed, or the circuit breaker opened or closed.", "limit"),
    )
    limit = fields.Float(required=True, allow_none=True, metadata=_about("The learned limit from then on.", 14.7))
    reason = fields.String(required=True, metadata=_about("Why.", "429: 1303 parallel task over resource pack limit"))


class LaneView(Schema):
    """A way to the provider: what it holds and what it lets through."""

    name = fields.String(required=True, metadata=_about("Its name.", "main"))
    configured = fields.Boolean(
        required=True, metadata=_about("false: BOOMERANG_LANES has no such lane, and what waits for it waits on.")
    )
    pool = fields.String(
        required=True, metadata=_about("The pool that its jobs wait in; empty where it takes any job.", "")
    )
    models = fields.List(
        fields.String(), required=True, metadata=_about("Models that it takes; empty: any.", ["kirin_v2_1_*"])
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=_about("Labels that a job must have for it.", {"shop": "berlin"}),
    )
    slots = fields.Integer(required=True, metadata=_about("Images that the provider may be working on now.", 12))
    max_in_flight = fields.Integer(
        required=True, metadata=_about("Most of them at once, as set; 0 means no limit.", 64)
    )
    learned_limit = fields.Float(
        required=True, allow_none=True, metadata=_about("Most of them at once, as learned; null: not learned.", 23.4)
    )
    limit = fields.Integer(required=True, metadata=_about("The less of both, in force; 0 means no limit.", 23))
    submit_rate = fields.Float(required=True, metadata=_about("Most submissions a second; 0 means no limit.", 5.0))
    max_cost_per_day = _money("Most that its jobs may cost a day, else null.", required=True, allow_none=True)
    window = fields.Integer(required=True, metadata=_about("Images of jobs that are on their way to a worker.", 48))
    ready = fields.Integer(required=True, metadata=_about("Jobs that wait in its pool.", 3400))
    held = fields.Boolean(
        required=True, metadata=_about("Whether nothing is being sent: a hold, or an open circuit breaker.")
    )
    held_since = _instant("Since when, else null.", required=True, allow_none=True)
    held_until = _instant(
        "Until when: the end of the hold, or the next probe of the breaker; else null.", required=True, allow_none=True
    )
    reason = fields.String(required=True, allow_none=True, metadata=_about("Why it is held.", "402: balance exhausted"))
    breaker = fields.String(
        required=True,
        validate=validate.OneOf(("closed", "open")),
        metadata=_about("open: the provider does not answer; it is probed until it does.", "closed"),
    )
    breaker_since = _instant("Open since, else null.", required=True, allow_none=True)
    breaker_opened = fields.Integer(required=True, metadata=_about("How often it has opened.", 2))
    history = fields.List(
        fields.Nested(LaneChange), required=True, metadata=_about("The last 50 changes, newest first.")
    )
    spent = _money(
        "Cost of every result taken in, late ones too; null for keys without the scope admin.",
        required=True,
        allow_none=True,
    )


class LaneList(Schema):
    lanes = fields.List(fields.Nested(LaneView), required=True)


class Readiness(Schema):
    """Whether this process can do its work."""

    ready = fields.Boolean(required=True)
    dependencies = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=_about("Each dependency: ok, or what is wrong with it.", {"redis": "ok"}),
    )


class Problem(Schema):
    """Every error: application/problem+json (RFC 9457), and what to do about it."""

    class Meta:
        unknown = INCLUDE  # such as the counts of an upload that was refused

    type = fields.String(required=True, metadata=_about("Names the kind of problem.", "about:blank"))
    title = fields.String(required=True, metadata=_about("The kind of problem, in words.", "The request is not valid"))
    status = fields.Integer(required=True, metadata=_about("The HTTP status.", 422))
    detail = fields.String(metadata=_about("What happened here, and the remedy."))
    errors = fields.Raw(
        metadata=_about(
            "Field path to what is wrong with it; of an upload that was refused whole, its lines.",
            {"n": ["must be from 1 to 9, not 12"]},
        )
        | {
            "oneOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
                {"type": "array", "items": {"$ref": "#/components/schemas/LineError"}},
            ]
        },
    )
    codes = fields.List(fields.String(), metadata=_about("The provider's codes for these mistakes.", ["002016003"]))
