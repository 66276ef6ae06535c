"""Errors (RFC 9457), and whether the process is ready."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from marshmallow import INCLUDE, Schema, fields

from schemas.views.batches import Note
from schemas.views.fields import described
from schemas.views.liveness import last_round_age, troubles


class Readiness(Schema):
    """Whether this process can do its work."""

    ready = fields.Boolean(required=True)
    dependencies = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata=described("For each dependency: `ok`, or what is wrong with it.", {"redis": "ok"}),
    )
    troubles = troubles()
    last_round_age = last_round_age()


class Problem(Schema):
    """An error: what is wrong and what to do, as application/problem+json (RFC 9457)."""

    class Meta:
        unknown = INCLUDE  # such as the counts of a refused upload

    type = fields.String(required=True, metadata=described("Kind of problem; always about:blank.", "about:blank"))
    title = fields.String(required=True, metadata=described("Name of the HTTP status.", "Unprocessable Entity"))
    status = fields.Integer(required=True, metadata=described("The HTTP status.", 422))
    detail = fields.String(metadata=described("What is wrong, and what to do."))
    errors = fields.Raw(
        metadata=described(
            "For each field: what is wrong with it. For an upload that was refused as a whole: its refused lines.",
            {"n": ["must be from 1 to 9, not 12"]},
        )
        | {
            "oneOf": [
                {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
                {"type": "array", "items": {"$ref": "#/components/schemas/LineError"}},
            ]
        },
    )
    codes = fields.List(fields.String(), metadata=described("The provider's codes for these errors.", ["002016003"]))
    id = fields.String(metadata=described("For an upload: the id of its batch, under which it continues.", "boats"))
    accepted = fields.Integer(metadata=described("For an upload: number of new jobs, which stay enqueued.", 500))
    known = fields.Integer(metadata=described("For an upload: number of lines whose job existed already.", 0))
    rejected = fields.Integer(metadata=described("For an upload: number of refused lines so far.", 0))
    pilot = fields.Integer(
        allow_none=True, metadata=described("For an upload: number of jobs of the pilot, or null without one.", None)
    )
    warnings = fields.List(
        fields.Nested(Note), metadata=described("For an upload: what may stop its jobs, as in its answer.")
    )
    source_url = fields.String(
        metadata=described("For an output that is not saved: its URL at the provider.", "https://cdn.example.com/1.png")
    )
    scope = fields.String(metadata=described("For 403: the scope that the call requires.", "cancel"))
    line = fields.Integer(
        metadata=described("The number of the first line that differs from an earlier upload to the same batch.", 2)
    )


def _example(status: int, detail: str, **more: Any) -> Mapping[str, Any]:
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return problem | more


#: What an error of each status means, and what to do.
MEANINGS: Mapping[int, str] = {
    400: "The body is incomplete, or is not JSON in UTF-8. Send it again, complete.",
    401: "The key is missing, or is not valid. Send a valid key.",
    403: "The key lacks the scope that the call requires: ask the operator for a key that has it. Or the link is not "
    "valid, or has expired: ask for the job again.",
    404: "There is no such job, batch, output or image, or it belongs to another producer. Ended ones are deleted in "
    "time.",
    409: "The id belongs to another request, or the state of the job or batch does not allow the change. See `detail`.",
    410: "The saved file was deleted. The job is paid for: do not send it again.",
    411: "The header Content-Length is missing. Send it.",
    412: "The file has another ETag than `If-Match` names. Get it without.",
    413: "The body is too large. `detail` names the limit.",
    415: "The Content-Encoding is not supported. Use gzip, or none.",
    416: "The range begins after the end of the file. Content-Range has its size.",
    422: "The request or the query is not valid. `errors` names each field, `line` a line that has changed.",
    429: "The service is full, or the key sends too many requests. Send the same request again after Retry-After.",
    500: "An error of the service, which is in its log. Sending the same request again is safe.",
    501: "The service cannot do this as it is installed. Ask its operator.",
    503: "The service cannot work now. Send the same request again after Retry-After: repeats are safe.",
}
#: Examples of the problems of each status, by name.
EXAMPLES: Mapping[int, Mapping[str, Mapping[str, Any]]] = {
    400: {"not JSON": _example(400, "The body is not valid: it is not JSON. Send one JSON value in UTF-8.")},
    401: {"no key": _example(401, "Send a producer's key: `Authorization: Bearer <key>`.")},
    403: {
        "scope": _example(
            403,
            "This requires a key with the scope `cancel`, which yours lacks. Ask the operator for such a key.",
            scope="cancel",
        )
    },
    404: {"no job": _example(404, "There is no job 'dawn'. Ended ones are deleted after BOOMERANG_RETENTION seconds.")},
    409: {
        "id": _example(
            409,
            "The external_task_id dawn belongs to another request.",
            errors={"external_task_id": ["is taken by another request"]},
        ),
        "state": _example(409, "The job is completed, so it cannot be cancelled."),
    },
    410: {"deleted": _example(410, "The saved file was deleted from the result store.")},
    411: {"length": _example(411, "Send a Content-Length header. Only POST /v1/batches accepts a chunked body.")},
    412: {"etag": _example(412, "The file has another ETag than `If-Match` names. Get it without.")},
    413: {"size": _example(413, "The body has 73,400,320 bytes. Send at most 67,108,864.")},
    415: {"encoding": _example(415, "Content-Encoding 'br' is not supported. Use gzip, or leave it out.")},
    416: {"range": _example(416, "The range begins after the end of the file. Content-Range has its size.")},
    422: {
        "fields": _example(
            422,
            "The request is not valid; `errors` names each field.",
            errors={"n": ["must be from 1 to 9, not 12"]},
            codes=["002016003"],
        ),
        "query": _example(
            422,
            "The query is not valid; `errors` names each parameter.",
            errors={"limit": ["Must be greater than or equal to 1 and less than or equal to 1000."]},
        ),
        "lines": _example(
            422,
            "Nothing was enqueued, since some lines are refused. Correct them and send all lines again.",
            id="spring",
            accepted=0,
            known=0,
            rejected=1,
            errors=[{"line": 2, "errors": {"n": ["must be from 1 to 9, not 12"]}, "codes": ["002016003"]}],
            pilot=None,
            warnings=[],
        ),
        "changed line": _example(
            422,
            "Line 2 differs from the earlier upload under this batch id (or Idempotency-Key). "
            "Send a different upload under a new one.",
            line=2,
            id="spring",
            accepted=0,
            known=1,
            rejected=0,
            errors=[],
            pilot=None,
            warnings=[],
        ),
    },
    429: {
        "full": _example(
            429,
            "There are 100,000 unfinished jobs, the limit (BOOMERANG_MAX_UNFINISHED). New ones are accepted when some "
            "have ended. Nothing was enqueued. Send the same again later.",
        ),
        "rate": _example(429, "This key may make 100 requests per minute. Send this again later."),
    },
    500: {"bug": _example(500, "This is our fault, and it is logged. Sending the same again is safe.")},
    501: {
        "thumbnails": _example(
            501, "This service makes no thumbnails. Its operator can install Pillow: boomerang-jobs[thumbnails]."
        )
    },
    503: {"store": _example(503, "The job store does not answer. Send the same again later: repeats are safe.")},
}
