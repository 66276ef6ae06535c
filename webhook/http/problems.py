"""Errors as `application/problem+json` (RFC 9457). Each says what is wrong and what to do."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from jobs.errors import (
    RECOVER,
    BatchNotFound,
    BulkNotFound,
    ImageNotFound,
    ImagesUnavailable,
    JobNotFound,
    NoLane,
    NotAllowed,
    RecordDamaged,
    ResultsUnavailable,
    StoreUnavailable,
    WorkRefused,
)
from jobs.producer_ids import given_id
from schemas import BodyInvalid, RequestInvalid, bounded

#: Seconds after which a client may try again while Redis is down.
RETRY_AFTER = 5

#: For producers and the provider. /readyz and the log give operators the reason.
REFUSED = (
    "The job store has lost jobs, so that no new work is accepted until an operator repairs it "
    f"(`{RECOVER}`). Send the same again later: repeats are safe."
)
_REMEDIES: Mapping[int, str] = {
    400: "The request is not valid HTTP, or its query cannot be decoded; see /docs.",
    404: "This address does not exist; /docs lists those that do.",
    405: "This address does not support this method; /docs lists those that it does.",
    408: "The request took too long to arrive; send it again.",
    416: "The range begins after the end of the file. Content-Range has its size.",
}
_log = logging.getLogger(__name__)


class ProblemError(Exception):
    """An error with its answer. `more`: further members of the answer.

    `errors`: by field, of which only the first are kept (`schemas.error_budget`); of an upload, its refused lines.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Mapping[str, Sequence[str]] | Sequence[Mapping[str, Any]] = (),
        codes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = bounded(errors) if isinstance(errors, Mapping) else errors
        self.codes = codes
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """Return the answer."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        if self.codes:
            body["codes"] = list(self.codes)
        text = json.dumps(body | self.more, ensure_ascii=False)
        return Response(text, self.status, self.headers, content_type="application/problem+json")


def unavailable(detail: str, **more: Any) -> ProblemError:
    """Return a problem, 503, that says when to try again."""
    return ProblemError(503, detail, headers={"Retry-After": str(RETRY_AFTER)}, **more)


def problem_from(error: Exception) -> ProblemError:
    """Translate an error for the client. An unexpected one is our fault: it is logged, and becomes a 500."""
    match error:
        case ProblemError():
            problem = error
        case RequestInvalid():
            detail = "The request is not valid; `errors` names each field."
            problem = ProblemError(422, detail, errors=error.errors, codes=error.codes)
        case BodyInvalid():
            problem = ProblemError(400, f"The body is not valid: {error.reason}. Send one JSON value in UTF-8.")
        case NoLane():
            problem = ProblemError(422, "No lane takes this request.", errors={"model": [str(error)]})
        case JobNotFound(job_id=found) | BatchNotFound(batch_id=found):
            problem = ProblemError(404, str(type(error)(given_id(found))))
        case ImageNotFound() | BulkNotFound():
            problem = ProblemError(404, str(error))
        case NotAllowed():
            problem = ProblemError(409, str(error))
        case StoreUnavailable():
            problem = _problem_from_store(error)
        case HTTPException():
            problem = _problem_from_http(error)
        case _:
            _log.error("unexpected error path=%s", request.url_rule, exc_info=error)
            problem = ProblemError(500, "This is our fault, and it is logged. Sending the same again is safe.")
    return problem


def _problem_from_store(error: StoreUnavailable) -> ProblemError:
    match error:
        case RecordDamaged():
            _log.error("damaged path=%s about=%s error=%s", request.url_rule, _names_in_path(), error)
            return unavailable(
                "The stored record is damaged, and an operator has to repair it (`boomerang-server audit`). "
                "Sending the same again is safe."
            )
        case WorkRefused():
            what, detail = "work refused", REFUSED
        case ResultsUnavailable():
            what = "results unavailable"
            detail = "The result store does not answer. Send the same again later: repeats are safe."
        case ImagesUnavailable():
            what = "images unavailable"
            detail = "The image store does not answer. Send the same again later: repeats are safe."
        case _:
            what = "state unavailable"
            detail = "The job store does not answer. Send the same again later: repeats are safe."
    _log.warning("%s path=%s error=%s", what, request.url_rule, error)
    return unavailable(detail)


def _names_in_path() -> str:
    """Return the names in the path for the log, without a callback's token."""
    named = {name: value for name, value in (request.view_args or {}).items() if name != "token"}
    return ascii(" ".join(map(str, named.values())))[1:-1]


def _problem_from_http(error: HTTPException) -> ProblemError:
    status = error.code or 500
    headers = {
        name: value for name, value in error.get_headers() if name.lower() in ("allow", "content-range", "retry-after")
    }
    data: Any = getattr(error, "data", None) or {}
    if "messages" not in data:
        return ProblemError(status, _REMEDIES.get(status, error.description or "See /docs."), headers=headers)
    # webargs sorts its messages by location, then by parameter.
    errors = {
        str(name): ["is not a parameter of this call; see /docs"] if texts == ["Unknown field."] else _texts(texts)
        for parameters in data["messages"].values()
        for name, texts in parameters.items()
    }
    return ProblemError(422, "The query is not valid; `errors` names each parameter.", errors=errors)


def _texts(messages: Any) -> list[str]:
    """Flatten marshmallow's messages on a parameter. A repeatable one has them by position."""
    if isinstance(messages, Mapping):
        return [text for each in messages.values() for text in _texts(each)]
    return list(messages)


def register(app: Flask, other_forms: Sequence[tuple[Callable[[], bool], Callable[[ProblemError], Response]]]) -> None:
    """Answer every error of the app this way.

    `other_forms`: whether this request has another form of errors, and the function that makes these answers.
    """

    def answer(error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.code is not None and error.code < HTTPStatus.BAD_REQUEST:
            return error.get_response()  # type: ignore[return-value] # a redirect is not an error
        problem = problem_from(error)
        form = next((form for applies, form in other_forms if applies()), ProblemError.response)
        return form(problem)

    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)
