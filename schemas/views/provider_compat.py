"""Answers of the provider-compatible API, in the provider's own form (the provider contract, "Submit" and "Status")."""

from marshmallow import Schema, fields, validate

from schemas.views.fields import described


def _id() -> fields.String:
    return fields.String(
        required=True,
        metadata=described("Your external_task_id, or the id that the service made.", "order-4711.front"),
    )


def _model() -> fields.String:
    return fields.String(required=True, metadata=described("Model ID.", "kirin_image_omni"))


class TaskAccepted(Schema):
    """An accepted task."""

    id = _id()
    status = fields.String(
        required=True, validate=validate.Equal("in_progress"), metadata=described("Always in_progress.", "in_progress")
    )
    model = _model()
    created_at = fields.Integer(required=True, metadata=described("Seconds since 1970.", 1_760_000_000))


class TaskContentView(Schema):
    type = fields.String(required=True, metadata=described("Kind of resource.", "image"))
    url = fields.String(required=True, metadata=described("URL of the resource. Fetch it soon."))
    jobId = fields.String(metadata=described("The provider's own id of the task, if known."))  # noqa: N815 - the provider's name


class TaskOutputView(Schema):
    content = fields.List(fields.Nested(TaskContentView), required=True, metadata=described("The results."))


class TaskErrorView(Schema):
    code = fields.String(
        required=True,
        metadata=described("The provider's code, or `cancelled` or `expired` from this service.", "002016095"),
    )
    message = fields.String(required=True, metadata=described("What went wrong.", "Internal generation error"))
    error_message = fields.String(
        metadata=described("The same text: one page of the provider uses this name.", "Internal generation error")
    )


class TaskUsageView(Schema):
    cost = fields.String(required=True, metadata=described("USD, a decimal string. Empty if unknown.", "0.0065"))
    discount = fields.Raw(
        allow_none=True, metadata=described("Discount, as the provider sent it. Completed tasks only.")
    )


class TaskView(Schema):
    """A task: with `progress` while it runs, `output` when it is completed, `error` when it has failed."""

    id = _id()
    status = fields.String(
        required=True,
        validate=validate.OneOf(("in_progress", "completed", "failed")),
        metadata=described("in_progress, completed or failed.", "completed"),
    )
    model = _model()
    progress = fields.Float(
        metadata=described("Always 0 while the task runs: the service does not know the provider's progress.")
    )
    output = fields.List(fields.Nested(TaskOutputView), metadata=described("The results."))
    error = fields.Nested(TaskErrorView, metadata=described("Why the task failed."))
    usage = fields.Nested(TaskUsageView, metadata=described("Cost of the task, once it has ended."))
    metadata = fields.Dict(metadata=described("Empty. Completed tasks only."))


class TaskRefused(Schema):
    """An error."""

    error = fields.Nested(TaskErrorView, required=True)
