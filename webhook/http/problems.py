"""Every error as `application/problem+json` (RFC 9457), and each of ours says what to do."""

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
    ImageNotFound,
    ImagesUnavailable,
    JobNotFound,
    NoLane,
    NotAllowed,
    RecordDamaged,
    StoreUnavailable,
    WorkRefused,
)
from schemas import BodyInvalid, RequestInvalid

#: Seconds after which asking again makes sense while Redis is away.
RETRY_AFTER = 5

#: What producers and the provider are told; the reason itself is for whoever runs the service (/readyz, the log).
REFUSED = (
    "The job store does not hold the jobs that it should hold, so no work is taken in until an operator has looked at "
    f"it (`{RECOVER}`). Send the same again later: repeats are safe."
)
_REMEDIES: Mapping[int, str] = {
    400: "The request could not be read as HTTP, or its query holds something unreadable; see /docs.",
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take that method; /docs lists which it takes.",
    408: "The request came too slowly; send it again.",
}
_log = logging.getLogger(__name__)


class ProblemError(Exception):
    """A refusal with everything that its answer says. `more` are further members of the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        codes: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.codes = codes
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """The answer."""
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
    """503, with the time after which to come back."""
    return ProblemError(503, detail, headers={"Retry-After": str(RETRY_AFTER)}, **more)


def of_error(error: Exception) -> ProblemError:
    """The problem that an error is to the one who asked; what it does not know is ours, and a 500."""
    match error:
        case ProblemError():
            problem = error
        case RequestInvalid():
            said = "The request breaks rules; `errors` names each field."
            problem = ProblemError(422, said, errors=error.errors, codes=error.codes)
        case BodyInvalid():
            problem = ProblemError(400, f"The body cannot be read: {error.reason}. Send one JSON value in UTF-8.")
        case NoLane():
            problem = ProblemError(422, "The request cannot go anywhere.", errors={"model": [str(error)]})
        case JobNotFound() | BatchNotFound() | ImageNotFound():
            problem = ProblemError(404, str(error))
        case NotAllowed():
            problem = ProblemError(409, str(error))
        case StoreUnavailable():
            problem = _of_store(error)
        case HTTPException():
            problem = _of_http(error)
        case _:
            _log.error("unexpected error path=%s", request.url_rule, exc_info=error)
            problem = ProblemError(500, "This is a fault of ours, and is logged. Sending the same again is safe.")
    return problem


def _of_store(error: StoreUnavailable) -> ProblemError:
    match error:
        case RecordDamaged():
            _log.error("damaged path=%s about=%s error=%s", request.url_rule, _named(), error)
            return unavailable(
                "What is stored of it is damaged: whoever runs the service has to look at it (boomerang-server audit). "
                "Sending the same again is safe."
            )
        case WorkRefused():
            what, detail = "work refused", REFUSED
        case ImagesUnavailable():
            what = "images unavailable"
            detail = "The image store does not answer now. Send the same again later: repeats are safe."
        case _:
            what = "state unavailable"
            detail = "The job store does not answer now. Send the same again later: repeats are safe."
    _log.warning("%s path=%s error=%s", what, request.url_rule, error)
    return unavailable(detail)


def _named() -> str:
    """Which job, batch or other thing the address names; a callback's token is nobody's business."""
    named = {name: value for name, value in (request.view_args or {}).items() if name != "token"}
    return ascii(" ".join(map(str, named.values())))[1:-1]


def _of_http(error: HTTPException) -> ProblemError:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    said: Any = getattr(error, "data", None) or {}
    if "messages" not in said:
        return ProblemError(status, _REMEDIES.get(status, error.description or "See /docs."), headers=headers)
    # webargs puts its messages under where it looked, and then under the parameter.
    wrong = {
        str(name): ["is no parameter of this call; see /docs"] if texts == ["Unknown field."] else _texts(texts)
        for parameters in said["messages"].values()
        for name, texts in parameters.items()
    }
    return ProblemError(422, "The query breaks rules; `errors` names each parameter.", errors=wrong)


def _texts(said: Any) -> list[str]:
    """What marshmallow says of a parameter; of one that may come several times, it says it by number."""
    return [text for each in said.values() for text in _texts(each)] if isinstance(said, Mapping) else list(said)


def register(app: Flask, elsewhere: Mapping[str, Callable[[ProblemError], Response]]) -> None:
    """Answer every error of the app this way. After flask-smorest, which brings a handler of its own.

    `elsewhere`: the beginning of a path, and how errors below it are told instead.
    """

    def answer(error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.code is not None and error.code < HTTPStatus.BAD_REQUEST:
            return error.get_response()  # type: ignore[return-value] # a redirect is no error
        problem = of_error(error)
        for beginning, told in elsewhere.items():
            if request.path.startswith(beginning):
                return told(problem)
        return problem.response()

    app.register_error_handler(HTTPException, answer)
    app.register_error_handler(Exception, answer)
