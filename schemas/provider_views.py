"""The provider's own forms, as our door in its likeness speaks them (the provider contract, "Submit" and "Status")."""

from typing import Any

from marshmallow import Schema, fields, validate


def _about(description: str, example: Any = None) -> dict[str, Any]:
    return {"description": description} | ({} if example is None else {"example": example})


def _id() -> fields.String:
    return fields.String(
        required=True, metadata=_about("Your external_task_id, or the one made for you.", "order-4711.front")
    )


def _model() -> fields.String:
    return fields.String(required=True, metadata=_about("Model ID.", "kirin_image_omni"))


class TaskAccepted(Schema):
    """A task that was taken in."""

    id = _id()
    status = fields.String(
        required=True, validate=validate.Equal("in_progress"), metadata=_about("Always in_progress.", "in_progress")
    )
    model = _model()
    created_at = fields.Integer(required=True, metadata=_about("Seconds since 1970.", 1_760_000_000))


class TaskContentView(Schema):
    type = fields.String(required=True, metadata=_about("Kind of resource.", "image"))
    url = fields.String(required=True, metadata=_about("Where it is. Fetch it promptly."))
    jobId = fields.String(metadata=_about("The provider's own id of the task, where it is known."))  # noqa: N815 - its name there


class TaskOutputView(Schema):
    content = fields.List(fields.Nested(TaskContentView), required=True, metadata=_about("The results."))


class TaskErrorView(Schema):
    code = fields.String(
        required=True, metadata=_about("The provider's code; `cancelled` or `expired` are ours.", "002016095")
    )
    message = fields.String(required=True, metadata=_about("What went wrong.", "Internal generation error"))
    error_message = fields.String(metadata=_about("The same: one of the provider's pages names it so."))


class TaskUsageView(Schema):
    cost = fields.String(required=True, metadata=_about("USD, a decimal string; empty where unknown.", "0.0065"))
    discount = fields.Raw(allow_none=True, metadata=_about("As the provider gave it; of completed tasks only."))


class TaskView(Schema):
    """A task. `progress` while it is under way, `output` once completed, `error` once failed."""

    id = _id()
    status = fields.String(
        required=True,
        validate=validate.OneOf(("in_progress", "completed", "failed")),
        metadata=_about("in_progress, completed or failed.", "completed"),
    )
    model = _model()
    progress = fields.Float(metadata=_about("Always 0 while it is under way: how far the provider is is not known."))
    output = fields.List(fields.Nested(TaskOutputView), metadata=_about("The results."))
    error = fields.Nested(TaskErrorView, metadata=_about("Why it failed."))
    usage = fields.Nested(TaskUsageView, metadata=_about("What it cost, once it has ended."))
    metadata = fields.Dict(metadata=_about("Empty; of completed tasks only."))


class TaskRefused(Schema):
    """Every error at this door."""

    error = fields.Nested(TaskErrorView, required=True)
