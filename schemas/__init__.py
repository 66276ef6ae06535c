"""Everything that crosses a boundary: producers' requests, the provider's answers and callbacks, the views of our own API."""

from schemas.answers import read_callback, read_submission, read_task
from schemas.body import MAX_DEPTH, parse_json
from schemas.callback_address import callback_path, token_is_valid
from schemas.errors import AnswerInvalid, BodyInvalid, RequestInvalid, SchemaError
from schemas.money import parse_cost
from schemas.reports import Output, Submission, TaskError, TaskReport, TaskStatus, Usage
from schemas.requests.record import GenerationRequest

__all__ = [
    "MAX_DEPTH",
    "AnswerInvalid",
    "BodyInvalid",
    "GenerationRequest",
    "Output",
    "RequestInvalid",
    "SchemaError",
    "Submission",
    "TaskError",
    "TaskReport",
    "TaskStatus",
    "Usage",
    "callback_path",
    "parse_cost",
    "parse_json",
    "read_callback",
    "read_submission",
    "read_task",
    "token_is_valid",
]
