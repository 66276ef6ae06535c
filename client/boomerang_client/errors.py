"""The errors of this package. Every message says what is wrong and what to do.

    BoomerangError
    ├── UsageError            (also ValueError)    the arguments or settings cannot work; nothing was sent
    ├── StillRunning          (also TimeoutError)  the time to wait is over; the work continues
    ├── NoOutput                                   the job ended without a result, so there is nothing to save
    ├── NotSaved                                   a result could not be downloaded or written
    ├── UnexpectedAnswer                           the answer does not follow Boomerang's API
    ├── ServiceUnavailable                         no answer: network, name, TLS, time-out
    │   └── ServerFault       (also ApiError)      5xx
    └── ApiError                                   the service refused
        ├── Unauthorized                           401, 403
        ├── NotFound                               404
        ├── Conflict                               409
        ├── Invalid                                400, 413, 415, 422
        └── TooBusy                                429

(Other statuses are a plain ApiError.)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

#: Errors that are kept of an answer: fields of a request, messages on each, and lines of an upload. The service sends
#: no more; earlier versions, and other servers, might.
_MOST_FIELDS, _MOST_MESSAGES, _MOST_LINES = 21, 20, 1_000
#: Characters of one text, and of all errors of a request.
_LONGEST, _LONGEST_ALL = 2_000, 16_000
#: The path of errors on a request as a whole.
_WHOLE = "request"


@dataclass(frozen=True, slots=True)
class LineError:
    """A refused line of a batch.

    `line` counts from 1. `errors` maps field paths to messages. `codes` are the generation API's error codes.
    """

    line: int
    errors: Mapping[str, tuple[str, ...]] = field(hash=False)
    codes: tuple[str, ...] = ()


class BoomerangError(Exception):
    """Base class of the errors of this package.

    `repeat_id` is set when it is unknown whether the service accepted the work. Repeat the call with this id, as
    `external_task_id` or as the batch's `id`. If the service did accept it, the repeat changes nothing and costs
    nothing. `enqueued` is the number of jobs that a half-done upload has enqueued. `repeat_command` is the command that
    continues, if a command failed. `lines` are the refused lines of an upload that is accepted completely or not at
    all.
    """

    repeat_id: str | None = None
    repeat_command: str | None = None
    enqueued: int = 0
    lines: tuple[LineError, ...] = ()

    def __str__(self) -> str:
        message = super().__str__()
        if self.repeat_id is None:
            return message
        if self.enqueued:
            return f"{message} {continue_upload(self.repeat_id, self.enqueued)}"
        return f"{message} It may have been accepted: repeat it with the id {self.repeat_id}. Nothing is paid twice."


def continue_upload(batch: str, enqueued: int) -> str:
    """Explain how to continue a half-done upload."""
    jobs = f"has at least {enqueued:,} jobs" if enqueued else "may have jobs"
    return (
        f"Batch {batch} {jobs} of this upload already. To continue, correct the input and send all of it again with "
        f"the id {batch}, each line with the number that it has now. Nothing is paid twice."
    )


class UsageError(BoomerangError, ValueError):
    """The arguments or the settings cannot work; nothing was sent."""


class StillRunning(BoomerangError, TimeoutError):
    """The time to wait is over, and the work continues. Wait again, or check later."""


class NoOutput(BoomerangError):
    """The job ended without a result. Its status and error say why."""


class NotSaved(BoomerangError):
    """A result could not be downloaded, or its file could not be written."""


class UnexpectedAnswer(BoomerangError):
    """The answer does not follow Boomerang's API. Check the URL first, then the versions of client and service."""


class ServiceUnavailable(BoomerangError):
    """The service could not be reached, or the connection broke."""


class ApiError(BoomerangError):
    """The service refused the request (`application/problem+json`).

    `status` is the HTTP status. `errors` maps field paths ("subject_image_list.0.subject_image") to messages. `codes`
    are the generation API's error codes for the mistake ("002016002"). `retry_after` is in seconds, None if the service
    named no time. `line`: the number of the line that differs from an earlier upload to its batch, or None.
    """

    remedy = "The service's log has the reason."

    def __init__(
        self,
        status: int,
        title: str = "",
        detail: str = "",
        *,
        errors: Mapping[str, tuple[str, ...]] | None = None,
        codes: tuple[str, ...] = (),
        retry_after: float | None = None,
        line: int | None = None,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors: Mapping[str, tuple[str, ...]] = errors or {}
        self.codes = codes
        self.retry_after = retry_after
        self.line = line
        super().__init__(status, title, detail)
        fields = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in self.errors.items())
        reason = detail or title or "The service gave no reason."
        parts = [f"{reason} (HTTP {status})", *([fields] if fields else []), *([] if detail else [self.remedy])]
        self.args = (" ".join(parts),)


class Unauthorized(ApiError):
    """The key is missing, unknown or not allowed to do this."""

    remedy = "Set BOOMERANG_KEY to one of the service's producer keys."


class NotFound(ApiError):
    """No such job or batch exists, or it exists no longer."""

    remedy = "Check the id. Finished work is kept for a limited time."


class Conflict(ApiError):
    """The id belongs to another request, or the job's state does not allow the change."""

    remedy = "Use another id for another request, or check the job's state first."


class Invalid(ApiError):
    """The request is invalid. `errors` names the fields and what to change."""

    remedy = "Correct the request. The same request would be refused again."


class TooBusy(ApiError):
    """The service accepts no more work at the moment. Accepted work is safe."""

    remedy = "Send it again later. Accepted work is safe."


class ServerFault(ApiError, ServiceUnavailable):
    """The service answered that it cannot work at the moment (5xx)."""

    remedy = "Send it again later. The service's /readyz names the dependency that is unavailable."


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
    """Return the error for an answer with this status. `problem` is the parsed body, of any type."""
    kind = BY_STATUS.get(status, ServerFault if status >= 500 else ApiError)  # noqa: PLR2004 -- the 5xx class
    body = problem if isinstance(problem, Mapping) else {}
    errors, codes, line = body.get("errors"), body.get("codes"), body.get("line")
    error = kind(
        status,
        _text(body.get("title") or ""),
        _text(body.get("detail") or ""),
        errors=field_errors(errors),
        codes=tuple(map(_text, codes[:_MOST_FIELDS])) if isinstance(codes, list) else (),
        retry_after=retry_after,
        line=line if isinstance(line, int) else None,
    )
    error.lines = line_errors(errors) if isinstance(errors, list) else ()
    counts = (body.get("accepted"), body.get("known"))
    error.enqueued = sum(count for count in counts if isinstance(count, int))
    return error


def line_errors(errors: Iterable[object]) -> tuple[LineError, ...]:
    """Parse the first 1,000 refused lines of an upload. Entries without a line number are left out."""
    found = (one for one in errors if isinstance(one, Mapping) and isinstance(one.get("line"), int))
    return tuple(
        LineError(one["line"], field_errors(one.get("errors")), tuple(map(_text, one.get("codes") or ())))
        for one in islice(found, _MOST_LINES)
    )


def field_errors(errors: object) -> dict[str, tuple[str, ...]]:
    """Parse the `errors` of a problem: field path → messages. Anything but a mapping gives no errors.

    Of very many or very long errors, the first are kept. Fields that are left out are counted under `request`.
    """
    if not isinstance(errors, Mapping):
        return {}
    found: dict[str, tuple[str, ...]] = {}
    left = _LONGEST_ALL
    for name, messages in islice(errors.items(), _MOST_FIELDS):
        texts = tuple(map(_text, messages[:_MOST_MESSAGES] if isinstance(messages, list) else [messages]))
        left -= len(str(name)) + sum(map(len, texts))
        if left < 0:
            break
        found[_text(name)] = texts
    omitted = len(errors) - len(found)
    if omitted:
        found[_WHOLE] = (*found.get(_WHOLE, ()), f"has {omitted:,} more errors")
    return found


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
