"""Query parameters of the operations on jobs."""

from marshmallow import Schema, fields, validate

from schemas.queries.job_filter import JobFilterSchema
from schemas.queries.parameters import dry_run, included, page_cursor, page_limit

LONGEST_WAIT = 60
#: Pixels of the longer side. Few sizes, so that few files are made of one image.
THUMBNAIL_SIZES = (128, 256, 512, 1024)


#: Characters of an id to search for.
LONGEST_SEARCH = 256
#: In a list of a batch, `c` marks a time of creation.
JOB_CURSOR = r"c?[0-9]{1,17}\Z"


class JobQuery(JobFilterSchema):
    """`GET /v1/jobs`."""

    include = included()
    cursor = page_cursor(JOB_CURSOR)
    limit = page_limit()
    search = fields.String(
        validate=validate.Length(min=1, max=LONGEST_SEARCH),
        metadata={
            "description": "Only the job that this names exactly: its id, the external id of an attempt, or the "
            "provider's id of its last task. Other filters, `cursor` and `count` do not apply.",
            "example": "order-4711.front",
        },
    )
    count = fields.Boolean(
        load_default=False,
        error_messages={"invalid": "must be true or false"},
        metadata={"description": "Also count the jobs that meet the filter (`count` in the answer)."},
    )


class WaitQuery(Schema):
    """`GET /v1/jobs/<id>`."""

    wait = fields.Float(
        load_default=0.0,
        validate=validate.Range(min=0, max=LONGEST_WAIT, error=f"must be from 0 to {LONGEST_WAIT} seconds"),
        error_messages={"invalid": "must be a number of seconds", "special": "must be a finite number of seconds"},
        metadata={"description": "Wait until the job has ended, but no longer than this many seconds (0 to 60)."},
    )
    include = included()


class EnqueueQuery(Schema):
    """`POST /v1/jobs`."""

    dry_run = dry_run()


class OutputQuery(Schema):
    """`GET /v1/jobs/<id>/outputs/<index>`. A link has `expires` and `signature`."""

    size = fields.Integer(
        validate=validate.OneOf(THUMBNAIL_SIZES, error="must be one of {choices}"),
        metadata={"description": "Get a thumbnail: pixels of its longer side.", "example": THUMBNAIL_SIZES[1]},
    )
    expires = fields.String(metadata={"description": "When the link expires, in seconds since 1970."})
    signature = fields.String(metadata={"description": "The signature of the link, which replaces a key."})
