"""The meaning of the provider's answers: pure functions from status, headers and body to an outcome.

The source of every rule is the provider contract, "Answers to a submit: what each one means". If an answer is unclear,
the attempt is in doubt, and is looked up before anything is sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

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
from worker.provider.duplicates import About, about_id


@dataclass(frozen=True, slots=True)
class Created:
    """The provider has created the task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The provider already has a task with this external id. Look it up; never submit under a new id.

    `error`: its words, with which the job fails if no look-up finds the task.
    """

    reason: str
    error: TaskError


@dataclass(frozen=True, slots=True)
class Refused:
    """Not created, and a repeat would not help: the provider rejects the request itself.

    `may_exist`: the refusal may be about the external id. Look the task up before the job fails.
    """

    error: TaskError
    may_exist: bool = False


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
    """The provider has the task. `age`: its least and greatest age in seconds; None if that is not known."""

    report: TaskReport
    age: tuple[float, float] | None = field(default=None, compare=False)


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
#: Seconds by which the age of a task may be wrong, by the provider's clock and by ours.
SAME_CLOCK, OTHER_CLOCK = 5.0, 300.0
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
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
        return _accepted(answer, body, external_task_id)
    # Before the status: a code for "too many" means that nothing was created, even with status 400 or 500.
    if error.code in THROTTLED or status == _TOO_MANY:
        return Held(_reason(status, error), throttled=True, retry_after=retry_after(headers))
    if status in _ACCOUNT_STATUS or error.code in ACCOUNT:
        return Held(_reason(status, error, _ACCOUNT_STATUS.get(status, "")), throttled=False)
    if _BAD_REQUEST <= status < _SERVER and status not in (_TIMEOUT, _TOO_EARLY):
        about = About.EXISTS if status == _CONFLICT else about_id(body, external_task_id)
        return _refused(status, error, about)
    return Doubtful(_reason(status, error), silent=_is_silence(status))


def read_status_answer(
    status: int, body: bytes, external_task_id: str, headers: Mapping[str, str] = _NO_HEADERS
) -> LookupOutcome | Held:
    """Interpret the answer of the status endpoint. `headers` tell the time by the provider's clock."""
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
    return Found(report, _age(report, headers))


def _age(report: TaskReport, headers: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the least and the greatest age of the task in seconds. The provider's clock may differ from ours.

    Its answer has its time in the header Date (RFC 9110, to the second). Without one, clocks may be minutes apart.
    """
    if report.created_at is None:
        return None
    there = _date(headers.get("Date", ""))
    now, margin = (there, SAME_CLOCK) if there else (datetime.now(UTC), OTHER_CLOCK)
    age = (now - report.created_at).total_seconds()
    return age - margin, age + margin


def _date(value: str) -> datetime | None:
    """Parse an HTTP date; None if it is unusable."""
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        # OverflowError: years and zones beyond a C integer.
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return `Retry-After` in seconds (RFC 9110: a number or a date), at most LONGEST_RETRY_AFTER; 0 if unusable."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    when = _date(value)
    if when is None:
        return 0.0
    return min(max((when - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _is_silence(status: int) -> bool:
    return status == _TIMEOUT or status >= _SERVER


def _submission(body: bytes) -> Submission | None:
    try:
        return read_submission(parse_json(body))
    except BodyInvalid:
        return None


def _refused(status: int, error: TaskError, about: About) -> Exists | Refused:
    words = TaskError(error.code or str(status), error.message or f"the provider answered {status}")
    if about is About.EXISTS:
        return Exists(_reason(status, error), words)
    return Refused(words, may_exist=about is not About.NOTHING)


def _accepted(answer: Submission | None, body: bytes, external_task_id: str) -> SubmitOutcome:  # noqa: PLR0911 - a table with one line per rule
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
    about = about_id(body, external_task_id) if answer.error else About.NOTHING
    if about is About.EXISTS:
        return Exists(_reason(_OK, error), error)
    if error.code in PERMANENT:
        # An error beside an id: either may be true.
        return Refused(error, may_exist=about is About.PERHAPS or answer.task_id is not None)
    return Doubtful(_reason(_OK, error)) if answer.task_id else NotCreated(error)


def _reason(status: int, error: TaskError, meaning: str = "") -> str:
    return f"{status}: " + (
        " ".join(part for part in (error.code, error.message) if part) or meaning or "no reason given"
    )
