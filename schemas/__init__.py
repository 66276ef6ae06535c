"""Data that crosses a boundary: producers' requests, the provider's answers, the answers of the HTTP API."""

from schemas.answers import read_callback, read_submission, read_task
from schemas.body import MAX_DEPTH, parse_json
from schemas.callback_address import callback_path, token_is_valid
from schemas.callback_rules import CallbackRules
from schemas.error_budget import bounded
from schemas.error_text import clean
from schemas.errors import AnswerInvalid, BodyInvalid, RequestInvalid, SchemaError
from schemas.images import MAX_BYTES as MAX_IMAGE
from schemas.images import REFERENCE, ImageFile, ImageInvalid, is_reference, read_image
from schemas.money import Cost, read_cost
from schemas.provider_report import Output, Submission, TaskError, TaskReport, TaskStatus, Usage
from schemas.requests.base import EXTERNAL_ID, MODELS, RequestSchema, has_parameter
from schemas.requests.images import checked_in, images_in, references, with_images, without_images
from schemas.requests.load import load_callback_url, load_request
from schemas.requests.record import CallbackForm, GenerationRequest
from schemas.tolerant_body import Reading, read_object

__all__ = [
    "EXTERNAL_ID",
    "MAX_DEPTH",
    "MAX_IMAGE",
    "MODELS",
    "REFERENCE",
    "AnswerInvalid",
    "BodyInvalid",
    "CallbackForm",
    "CallbackRules",
    "Cost",
    "GenerationRequest",
    "ImageFile",
    "ImageInvalid",
    "Output",
    "Reading",
    "RequestInvalid",
    "RequestSchema",
    "SchemaError",
    "Submission",
    "TaskError",
    "TaskReport",
    "TaskStatus",
    "Usage",
    "bounded",
    "callback_path",
    "checked_in",
    "clean",
    "has_parameter",
    "images_in",
    "is_reference",
    "load_callback_url",
    "load_request",
    "parse_json",
    "read_callback",
    "read_cost",
    "read_image",
    "read_object",
    "read_submission",
    "read_task",
    "references",
    "token_is_valid",
    "with_images",
    "without_images",
]
