"""The outputs of a job, and how far saving them has come."""

from marshmallow import Schema, fields

from schemas.views.fields import described, instant


class OutputView(Schema):
    type = fields.String(required=True, metadata=described("Kind of resource.", "image"))
    url = fields.String(
        required=True,
        metadata=described(
            "Where to get the resource now: at this service once it is saved, before that at the provider, which "
            "deletes it after some time. Ask for the job again when it has expired."
        ),
    )
    source_url = fields.String(required=True, metadata=described("URL of the resource at the provider."))
    url_expires_at = instant(
        "When `url` stops working, if it is a link to the saved resource, otherwise null.",
        required=True,
        allow_none=True,
    )
    expires_at = instant(
        "When the provider deletes the resource at `source_url`, as far as it is known or assumed, otherwise null.",
        required=True,
        allow_none=True,
    )
    removed_at = instant("When the saved resource was deleted again, otherwise null.", required=True, allow_none=True)
    saved_at = instant("When the service saved the resource. null: it is not saved.", required=True, allow_none=True)
    sha256 = fields.String(
        required=True,
        allow_none=True,
        metadata=described("SHA-256 of the saved resource in hex.", "9f86d081884c7d65" * 4),
    )
    size = fields.Integer(required=True, allow_none=True, metadata=described("Bytes of the saved resource.", 1_482_113))
    content_type = fields.String(
        required=True, allow_none=True, metadata=described("Type of the saved resource, by its content.", "image/png")
    )
    width = fields.Integer(
        required=True, allow_none=True, metadata=described("Pixels of the saved image, if they are known.", 1024)
    )
    height = fields.Integer(required=True, allow_none=True, metadata=described("The same.", 1024))
    watermark_url = fields.String(
        metadata=described("URL of the same resource with a watermark, if the provider sent one.")
    )


class SavingView(Schema):
    since = instant("Since when the results are to be saved.", required=True, allow_none=True)
    tries = fields.Integer(required=True, metadata=described("Number of failed tries so far.", 2))
    error = fields.String(
        required=True, allow_none=True, metadata=described("Why the last try failed.", "the answer has no length")
    )
    next_try_at = instant("When the service tries again, otherwise null.", required=True, allow_none=True)
    given_up_at = instant("When the service gave up, otherwise null.", required=True, allow_none=True)
