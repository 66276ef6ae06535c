"""Everything that crosses a boundary: producers' requests, the provider's answers, our API's views."""

from schemas.answers import read_callback, read_submission, read_task
from schemas.body import MAX_DEPTH, parse_json
from schemas.callback_address import callback_path, token_is_valid
from schemas.errors import AnswerInvalid, BodyInvalid, RequestInvalid, SchemaError
from schemas.money import parse_cost
from schemas.reports import Output, Submission, TaskError, TaskReport, TaskStatus, Usage
from schemas.requests.base import EXTERNAL_ID, MODELS, RequestSchema
from schemas.requests.load import load_request
from schemas.requests.record import CallbackForm, GenerationRequest

__all__ = [
    "EXTERNAL_ID",
    "MAX_DEPTH",
    "MODELS",
    "AnswerInvalid",
    "BodyInvalid",
    "CallbackForm",
    "GenerationRequest",
    "Output",
    "RequestInvalid",
    "RequestSchema",
    "SchemaError",
    "Submission",
    "TaskError",
    "TaskReport",
    "TaskStatus",
    "Usage",
    "callback_path",
    "load_request",
    "parse_cost",
    "parse_json",
    "read_callback",
    "read_submission",
    "read_task",
    "token_is_valid",
]
