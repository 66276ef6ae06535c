"""What can go wrong. Every message says what to do.

    BoomerangError
    ├── UsageError            (also ValueError)    the arguments or settings cannot work; nothing was sent
    ├── StillRunning          (also TimeoutError)  waiting ended, the work goes on
    ├── NoOutput                                   the job ended without a result, so there is nothing to save
    ├── NotSaved                                   a result could not be fetched or written
    ├── UnexpectedAnswer                           what answered does not speak Boomerang's API
    ├── ServiceUnavailable                         no answer: network, name, TLS, time-out
    │   └── ServerFault       (also ApiError)      5xx
    └── ApiError                                   the service said no
        ├── Unauthorized                           401, 403
        ├── NotFound                               404
        ├── Conflict                               409
        ├── Invalid                                400, 413, 415, 422
        └── TooBusy                                429

(Other statuses are a plain ApiError.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LineError:
    """A refused line of a batch: its number (from 1), field path → messages, the generation API's codes."""

    line: int
    errors: Mapping[str, tuple[str, ...]] = field(hash=False)
    codes: tuple[str, ...] = ()


class BoomerangError(Exception):
    """Base of every error of this package.

    `repeat_id`: set where it is unknown whether the service took the work in. Repeat the call with this id (as
    `external_task_id`, or as the batch's `id`): if the work was taken in, the repeat changes and buys nothing.
    `lines`: the refused lines of a batch that is taken in whole or not at all.
    """

    repeat_id: str | None = None
    lines: tuple[LineError, ...] = ()

    def __str__(self) -> str:
        message = super().__str__()
        if self.repeat_id is None:
            return message
        return f"{message} It may have been taken in: repeat it with the id {self.repeat_id}, which buys nothing twice."


class UsageError(BoomerangError, ValueError):
    """The arguments or the settings cannot work; nothing was sent."""


class StillRunning(BoomerangError, TimeoutError):
    """Waiting ended before the work did; the work goes on. Wait again, or look later."""


class NoOutput(BoomerangError):
    """The job ended without a result: its status and error say why."""


class NotSaved(BoomerangError):
    """A result could not be fetched from where it lies, or not be written."""


class UnexpectedAnswer(BoomerangError):
    """What answered does not speak Boomerang's API: look at the URL first, then at the versions of both sides."""


class ServiceUnavailable(BoomerangError):
    """The service could not be reached, or broke off."""


class ApiError(BoomerangError):
    """The service refused, by `application/problem+json`.

    `status`: HTTP status. `errors`: field path ("subject_image_list.0.subject_image") → messages. `codes`: the
    generation API's own error codes for the mistake ("002016002"). `retry_after`: seconds, where the service said so.
    """

    remedy = "Look at the service's log for the reason."

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        *,
        errors: Mapping[str, tuple[str, ...]] | None = None,
        codes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors: Mapping[str, tuple[str, ...]] = errors or {}
        self.codes = codes
        self.retry_after = retry_after
        super().__init__(status, title, detail)
        fields = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in self.errors.items())
        said = detail or title or "The service refused without a reason."
        parts = [f"{said} (HTTP {status})", *([fields] if fields else []), *([] if detail else [self.remedy])]
        self.args = (" ".join(parts),)


class Unauthorized(ApiError):
    """The key is missing, unknown or not allowed to do this."""

    remedy = "Set BOOMERANG_KEY to one of the service's producer keys."


class NotFound(ApiError):
    """There is no such job or batch (any more)."""

    remedy = "Check the id; finished work is kept for a limited time."


class Conflict(ApiError):
    """The same id with another request, or a change that the job's state does not allow."""

    remedy = "Use another id for another request, or look at the job's state first."


class Invalid(ApiError):
    """The request is not acceptable; `errors` names the fields and the remedies."""

    remedy = "Correct the request; sending it again unchanged cannot help."


class TooBusy(ApiError):
    """The service takes in nothing more for the moment; what was accepted is safe."""

    remedy = "Send it again later; what was accepted is safe."


class ServerFault(ApiError, ServiceUnavailable):
    """The service answered that it cannot work at the moment (5xx)."""

    remedy = "Send it again later; /readyz of the service names the dependency that is away."


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: TooBusy,
}


def api_error(status: int, problem: object, retry_after: float | None = None) -> ApiError:
    """The error for an answer of this status; `problem` is its parsed body, whatever that is."""
    kind = BY_STATUS.get(status, ServerFault if status >= 500 else ApiError)  # noqa: PLR2004 -- the 5xx class
    body = problem if isinstance(problem, Mapping) else {}
    errors, codes = body.get("errors"), body.get("codes")
    error = kind(
        status,
        str(body.get("title") or ""),
        str(body.get("detail") or ""),
        errors=field_errors(errors),
        codes=tuple(map(str, codes)) if isinstance(codes, list) else (),
        retry_after=retry_after,
    )
    error.lines = line_errors(errors) if isinstance(errors, list) else ()
    return error


def line_errors(errors: Iterable[object]) -> tuple[LineError, ...]:
    """The refused lines of an upload, read tolerantly: what is no line is left out."""
    found = [one for one in errors if isinstance(one, Mapping) and isinstance(one.get("line"), int)]
    return tuple(
        LineError(one["line"], field_errors(one.get("errors")), tuple(map(str, one.get("codes") or ())))
        for one in found
    )


def field_errors(errors: object) -> dict[str, tuple[str, ...]]:
    """The `errors` map of a problem, read tolerantly: field path → messages."""
    if not isinstance(errors, Mapping):
        return {}
    return {
        str(name): tuple(map(str, messages)) if isinstance(messages, list) else (str(messages),)
        for name, messages in errors.items()
    }
