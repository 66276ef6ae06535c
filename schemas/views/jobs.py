"""A job, and a page of jobs."""

from marshmallow import Schema, fields, validate

from schemas.states import FAILURE_CLASSES, JOB_EVENTS, JOB_STATES
from schemas.views.fields import described, instant, money, next_cursor
from schemas.views.outputs import OutputView, SavingView
from schemas.views.reviews import ReviewView


class ErrorView(Schema):
    code = fields.String(
        required=True, metadata=described("The provider's code, or empty if it sent none.", "002016095")
    )
    message = fields.String(
        required=True, metadata=described("The provider's description of the error.", "Internal generation error")
    )


class UsageView(Schema):
    cost = money("Cost of the last attempt, or null if the provider named no price.", required=True, allow_none=True)
    discount = fields.Raw(allow_none=True, metadata=described("Discount, as the provider sent it."))


class RevisionView(Schema):
    """An earlier revision of a job's request: how it ended, before the request was corrected."""

    revision = fields.Integer(required=True, metadata=described("Number of the revision, from 1.", 1))
    status = fields.String(required=True, metadata=described("State in which the job was.", "failed"))
    error = fields.Nested(
        ErrorView, required=True, allow_none=True, metadata=described("Why it failed, otherwise null.")
    )
    failure = fields.String(
        required=True,
        allow_none=True,
        attribute="class",
        data_key="class",
        validate=validate.OneOf(FAILURE_CLASSES),
        metadata=described("Class of the failure, or null if it had not failed.", "moderation"),
    )
    cost = money("Cost of all attempts of this revision.", required=True)
    first_attempt = fields.Integer(required=True, metadata=described("Number of its first attempt.", 1))
    last_attempt = fields.Integer(required=True, metadata=described("Number of its last attempt.", 1))
    finished_at = instant("When the job ended.", required=True)
    corrected_at = instant("When the request was corrected.", required=True)
    request = fields.Dict(
        keys=fields.String(),
        metadata=described("The request, with `include=request`.", {"model": "kirin_image_omni", "prompt": "a fox"}),
    )


class EventView(Schema):
    """An event in the past of a job."""

    at = instant("When it happened; of one that came several times in a row, the last time.", required=True)
    event = fields.String(
        required=True,
        validate=validate.OneOf(JOB_EVENTS),
        metadata=described("What happened. A state is the moment at which the job entered it.", "submitting"),
    )
    count = fields.Integer(required=True, metadata=described("How often it happened, the last time included.", 1))
    by = fields.String(
        required=True,
        allow_none=True,
        metadata=described("Id of the key, or name of the person, who caused it; null: the service.", "3f2a9c1b7d5e"),
    )
    cause = fields.String(
        required=True,
        allow_none=True,
        metadata=described("What settled the attempt: callback, poll or submit; null for other events.", "callback"),
    )


class JobView(Schema):
    """A job."""

    id = fields.String(
        required=True,
        metadata=described("Your external_task_id, or the id that the service made.", "order-4711.front"),
    )
    status = fields.String(
        required=True, validate=validate.OneOf(JOB_STATES), metadata=described("State of the job.", "completed")
    )
    model = fields.String(required=True, metadata=described("Model ID.", "kirin_image_omni"))
    output = fields.List(
        fields.Nested(OutputView), required=True, metadata=described("Results. Empty until the job is completed.")
    )
    saving = fields.Nested(
        SavingView,
        required=True,
        allow_none=True,
        metadata=described(
            "How far saving the results has come. null if they are saved, or if there is nothing to save."
        ),
    )
    error = fields.Nested(
        ErrorView, required=True, allow_none=True, metadata=described("Why the job failed, otherwise null.")
    )
    warnings = fields.List(
        fields.Nested(ErrorView),
        required=True,
        metadata=described(
            "What is wrong although there are results: fewer_images, left_out, or the provider's error beside them."
        ),
    )
    usage = fields.Nested(
        UsageView,
        required=True,
        allow_none=True,
        metadata=described("Cost of the last attempt, or null until it is known."),
    )
    cost = money(
        "Cost of all attempts of the job together, also those before a correction or retry; null if the provider named "
        "no price of any.",
        required=True,
        allow_none=True,
    )
    failure = fields.String(
        required=True,
        allow_none=True,
        attribute="class",
        data_key="class",
        validate=validate.OneOf(FAILURE_CLASSES),
        metadata=described(
            "Class of the failure (`error.code`); unsaved: its images cannot be saved; else null.", "moderation"
        ),
    )
    attempt = fields.Integer(
        required=True,
        metadata=described("Number of the last attempt, from 1. Some failures lead to a new attempt.", 1),
    )
    revision = fields.Integer(
        required=True,
        metadata=described("Number of the request's present revision: 1, and 1 more for each correction.", 1),
    )
    regenerates = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The completed job whose images this one generates once more, otherwise null.", None),
    )
    regenerated_by = fields.String(
        required=True,
        allow_none=True,
        metadata=described("The job that generates the images of this one once more, otherwise null.", None),
    )
    external_task_id = fields.String(
        required=True,
        metadata=described(
            "The same as `id`: your external_task_id, or the id that the service made.", "order-4711.front"
        ),
    )
    provider_external_id = fields.String(
        required=True,
        metadata=described(
            "Id of the last attempt at the provider: your id, the producer's name, and the attempt from the second on.",
            "order-4711.front@shop~2",
        ),
    )
    created_at = instant("When the job was accepted.", required=True)
    updated_at = instant("When the job last changed.", required=True)
    finished_at = instant("When the job ended, otherwise null.", required=True, allow_none=True)
    settled_by = fields.String(
        required=True,
        allow_none=True,
        metadata=described("What ended the job: callback, poll, submit, cancel, deadline, hand …", "callback"),
    )
    batch = fields.String(
        required=True, allow_none=True, metadata=described("Batch that the job was enqueued in, otherwise null.")
    )
    owner = fields.String(
        required=True,
        allow_none=True,
        metadata=described(
            "The producer whose key enqueued the job; `celery` if it came through Celery; null if it is not recorded.",
            "shop",
        ),
    )
    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("The job's labels.", {"shop": "berlin"}),
    )
    priority = fields.String(
        required=True,
        metadata=described(
            "high, normal or low. Of the same producer's jobs, those of a higher class are submitted first.", "normal"
        ),
    )
    expires_at = instant(
        "When the job expires, unpaid, if it was not submitted before; otherwise null.", required=True, allow_none=True
    )
    lane = fields.String(
        required=True,
        allow_none=True,
        metadata=described(
            "Lane (account at the provider) of this attempt, or null before it is submitted.", "default"
        ),
    )
    reason = fields.String(
        required=True,
        allow_none=True,
        metadata=described("What the job waits for, or null if there is no more to say."),
    )
    unknown_cost = fields.String(
        required=True,
        allow_none=True,
        metadata=described(
            "What the provider sent as the cost of an attempt, if that is no amount in USD (empty: nothing, although a "
            "limit applies). It is not part of `usage.cost` until an operator settles it; then null, as usual.",
        ),
    )
    request = fields.Dict(
        keys=fields.String(),
        allow_none=True,
        metadata=described(
            "With `include=request`: the generation request in its present revision, as it can be enqueued again. "
            "Images that came with it are references. null if it cannot be read.",
            {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": "order-4711.front"},
        ),
    )
    timeline = fields.List(
        fields.Nested(EventView),
        metadata=described(
            "With `include=timeline`: what happened to the job, oldest first. Of a job with many repeats, the oldest "
            "are counted together. A job that an earlier version accepted has fewer events."
        ),
    )
    revisions = fields.List(
        fields.Nested(RevisionView),
        metadata=described("With `include=revisions`: the earlier revisions of the request, oldest first."),
    )
    reviews = fields.List(
        fields.Nested(ReviewView),
        metadata=described("With `include=reviews`: the reviews of its outputs. Others were not reviewed."),
    )


class CountView(Schema):
    """How many jobs meet a filter."""

    jobs = fields.Integer(required=True, metadata=described("Number of jobs; unless `exact`, at least so many.", 1_240))
    exact = fields.Boolean(
        required=True, metadata=described("Whether it is their number, and not only the least that it may be.")
    )


class JobList(Schema):
    """A page of jobs."""

    jobs = fields.List(fields.Nested(JobView), required=True)
    cursor = next_cursor()
    count = fields.Nested(CountView, metadata=described("With `count`: how many jobs meet the filter."))
