"""The meaning of the provider's answers: pure functions from status, headers and body to an outcome.

The source of every rule is the provider contract, "Answers to a submit: what each one means". If an answer is unclear,
the attempt is in doubt, and is looked up before anything is sent again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from schemas import (
    AnswerInvalid,
    BodyInvalid,
    Submission,
    TaskError,
    TaskReport,
    parse_json,
    read_submission,
    read_task,
)


@dataclass(frozen=True, slots=True)
class Created:
    """The provider has created the task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The provider already has a task with this external id. Look it up; never submit under a new id."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Not created, and a repeat would not help: the provider rejects the request itself."""

    error: TaskError


@dataclass(frozen=True, slots=True)
class Held:
    """Not created, and the whole lane must wait.

    `throttled`: a rate or concurrency limit was exceeded; otherwise the account has a problem. `retry_after`: the
    provider's `Retry-After` in seconds, or 0.
    """

    reason: str
    throttled: bool
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class NotSent:
    """The provider cannot be reached: no byte of the request was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotCreated:
    """Not created, and the request may be repeated."""

    error: TaskError


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The task may exist and cost money. `silent`: no answer came, or only a 5xx, perhaps of a proxy."""

    reason: str
    silent: bool = False


SubmitOutcome = Created | Exists | Refused | Held | NotSent | NotCreated | Doubtful


@dataclass(frozen=True, slots=True)
class Found:
    """The provider has the task."""

    report: TaskReport


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider does not find the task. Weak evidence: a new task may not be visible yet."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The answer says nothing about the task. That never fails a job. `silent`: as in `Doubtful`."""

    reason: str
    silent: bool = False


LookupOutcome = Found | Absent | Unavailable

#: Kling's codes in a body (provider contract): rate and concurrency limits; the account; the request.
THROTTLED = frozenset({"1302", "1303"})
ACCOUNT = frozenset({"1100", "1101", "1102", "1304"})
PERMANENT = frozenset({"1200", "1201", "1300", "1301", "002016001", "002016002", "002016003"})
#: A longer `Retry-After` is cut to this: it is a mistake or an attack.
LONGEST_RETRY_AFTER = 900.0
#: Words of an error that reports a duplicate external id (contract: "names the external id as a duplicate").
_TAKEN = ("duplicate", "already", "exist", "repeat", "unique", "taken", "in use")
_NOT_THERE = re.compile(r"\b(does not|doesn't|do not|don't|did not|didn't|must|cannot|can't) exist")
_NAMES = ("external_task_id", "external task id", "external id", "external_id")
_OK, _REDIRECT, _BAD_REQUEST, _NOT_FOUND, _TIMEOUT, _CONFLICT = 200, 300, 400, 404, 408, 409
_TOO_EARLY, _TOO_MANY, _SERVER = 425, 429, 500
_ACCOUNT_STATUS = {
    401: "the provider does not accept the key",
    402: "the balance is too low",
    403: "the key lacks a permission",
}


def read_submit_answer(status: int, headers: Mapping[str, str], body: bytes, external_task_id: str) -> SubmitOutcome:
    """Interpret the complete answer to a submission."""
    answer = _submission(body)
    error = (answer.error if answer else None) or TaskError("", "")
    if _OK <= status < _REDIRECT:
        return _accepted(answer)
    # Before the status: a code for "too many" means that nothing was created, even with status 400 or 500.
    if error.code in THROTTLED or status == _TOO_MANY:
        return Held(_reason(status, error), throttled=True, retry_after=retry_after(headers))
    if status in _ACCOUNT_STATUS or error.code in ACCOUNT:
        return Held(_reason(status, error, _ACCOUNT_STATUS.get(status, "")), throttled=False)
    if status == _CONFLICT or (status < _SERVER and _names_duplicate(error, external_task_id)):
        return Exists(_reason(status, error))
    if _BAD_REQUEST <= status < _SERVER and status not in (_TIMEOUT, _TOO_EARLY):
        return Refused(TaskError(error.code or str(status), error.message or f"the provider answered {status}"))
    return Doubtful(_reason(status, error), silent=_is_silence(status))


def read_status_answer(status: int, body: bytes, external_task_id: str) -> LookupOutcome | Held:
    """Interpret the answer of the status endpoint."""
    if status == _NOT_FOUND:
        return Absent()
    if status in _ACCOUNT_STATUS:
        return Held(f"{status}: {_ACCOUNT_STATUS[status]}", throttled=False)
    if not _OK <= status < _REDIRECT:
        return Unavailable(f"the provider answered {status}", silent=_is_silence(status))
    try:
        report = read_task(parse_json(body))
    except (BodyInvalid, AnswerInvalid) as error:
        return Unavailable(f"the provider's answer cannot be read: {error}")
    if report.external_task_id not in (None, external_task_id):
        return Unavailable("the provider answered with another task")
    return Found(report)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return `Retry-After` in seconds (RFC 9110: a number or a date), at most LONGEST_RETRY_AFTER; 0 if unusable."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        # OverflowError: years and zones beyond a C integer.
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max((when - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _is_silence(status: int) -> bool:
    return status == _TIMEOUT or status >= _SERVER


def _submission(body: bytes) -> Submission | None:
    try:
        return read_submission(parse_json(body))
    except BodyInvalid:
        return None


def _accepted(answer: Submission | None) -> SubmitOutcome:  # noqa: PLR0911 - a table with one line per rule
    if answer is None:
        return Doubtful("the answer is not JSON")
    if answer.task_id and not answer.error:
        return Created(answer.task_id)
    # Contract: "A 200 without an id means that the task was not created". So does an error; its code says what to do.
    error = answer.error or TaskError("", "the provider answered without an id")
    if error.code in THROTTLED:
        return Held(_reason(_OK, error), throttled=True)
    if error.code in ACCOUNT:
        return Held(_reason(_OK, error), throttled=False)
    if _names_duplicate(error, ""):
        return Exists(_reason(_OK, error))
    if error.code in PERMANENT:
        return Refused(error)
    return Doubtful(_reason(_OK, error)) if answer.task_id else NotCreated(error)


def _names_duplicate(error: TaskError, external_task_id: str) -> bool:
    message = _NOT_THERE.sub("", error.message.lower())
    named = any(name in message for name in _NAMES) or _names(message, external_task_id.lower())
    return named and any(word in message for word in _TAKEN)


def _names(message: str, job_id: str) -> bool:
    """Return whether the message contains the id as a whole word; in quotes, if it is only letters or digits."""
    if not job_id:
        return False
    around = r"[\"'`]" if job_id.isalpha() or job_id.isdigit() else ""
    return re.search(rf"(?<![a-z0-9_~-]){around}{re.escape(job_id)}{around}(?![a-z0-9_~-])", message) is not None


def _reason(status: int, error: TaskError, meaning: str = "") -> str:
    return f"{status}: " + (
        " ".join(part for part in (error.code, error.message) if part) or meaning or "no reason given"
    )
