"""The meaning of the provider's answers: pure functions from status, headers and body to an outcome.

The source of every rule is the provider contract, "Answers to a submit: what each one means". If an answer is unclear,
the attempt is in doubt, and is looked up before anything is sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from schemas import (
    AnswerInvalid,
    BodyInvalid,
    Reading,
    Submission,
    TaskError,
    TaskReport,
    clean,
    read_object,
    read_submission,
    read_task,
)
from worker.http.retry_after import http_date, retry_after
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
    """The task may exist and cost money.

    `silent`: no answer came, or only a 5xx, perhaps of a proxy. `seen`: the start of an answer that cannot be read.
    """

    reason: str
    silent: bool = False
    seen: str | None = None


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
    """The answer says nothing about the task. That never fails a job. `silent` and `seen`: as in `Doubtful`.

    With `seen` the provider did answer about this task: the deadline of the job counts, and no other job is affected.
    """

    reason: str
    silent: bool = False
    seen: str | None = None


LookupOutcome = Found | Absent | Unavailable

#: Kling's codes in a body (provider contract): rate and concurrency limits; the account; the request.
THROTTLED = frozenset({"1302", "1303"})
ACCOUNT = frozenset({"1100", "1101", "1102", "1304"})
PERMANENT = frozenset({"1200", "1201", "1300", "1301", "002016001", "002016002", "002016003"})
#: Characters of an answer that cannot be read, in a log line and in a job's `reason`.
SEEN, _QUOTED = 300, 80
#: Seconds by which the age of a task may be wrong, by the provider's clock and by ours.
SAME_CLOCK, OTHER_CLOCK = 5.0, 300.0
#: A header Date that differs more from our clock does not tell the provider's time.
MOST_APART = timedelta(days=1)
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
    reading = _reading(body)
    answer = read_submission(reading.members) if reading else None
    error = (answer.error if answer else None) or TaskError("", "")
    if _OK <= status < _REDIRECT:
        return _accepted(answer, body, external_task_id, exact=bool(reading and reading.exact))
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
    if _OK <= status < _REDIRECT:
        return _task(body, external_task_id, headers)
    silent = _is_silence(status)
    # Too many requests concern the whole lane, like silence. Any other answer concerns this task.
    seen = None if silent or status == _TOO_MANY else _seen(body)
    return Unavailable(f"the provider answered {status}", silent=silent, seen=seen)


def _age(report: TaskReport, headers: Mapping[str, str]) -> tuple[float, float] | None:
    """Return the least and the greatest age of the task in seconds. The provider's clock may differ from ours.

    Its answer has its time in the header Date (RFC 9110, to the second). Without one, clocks may be minutes apart.
    """
    if report.created_at is None:
        return None
    there, here = http_date(headers.get("Date", "")), datetime.now(UTC)
    now, margin = (there, SAME_CLOCK) if there and abs(there - here) <= MOST_APART else (here, OTHER_CLOCK)
    age = (now - report.created_at).total_seconds()
    return age - margin, age + margin


def _is_silence(status: int) -> bool:
    return status == _TIMEOUT or status >= _SERVER


def _reading(body: bytes) -> Reading | None:
    try:
        return read_object(body)
    except BodyInvalid:
        return None


def _refused(status: int, error: TaskError, about: About) -> Exists | Refused:
    words = TaskError(error.code or str(status), error.message or f"the provider answered {status}")
    if about is About.EXISTS:
        return Exists(_reason(status, error), words)
    return Refused(words, may_exist=about is not About.NOTHING)


def _task(body: bytes, external_task_id: str, headers: Mapping[str, str]) -> Found | Unavailable:
    try:
        reading = read_object(body)
        report = read_task(reading.members)
    except (BodyInvalid, AnswerInvalid) as error:
        return _unreadable(str(error), body)
    if report.external_task_id not in (None, external_task_id):
        return _unreadable("it is about another task", body)
    if not reading.whole and report.status.final and not _is_complete(report):
        return _unreadable("it is cut off", body)
    return Found(report, _age(report, headers))


def _seen(body: bytes) -> str:
    """Return the start of an answer, escaped, for a log line."""
    return clean(body[: 4 * SEEN].decode("utf-8", "replace"), SEEN)


def _unreadable(why: str, body: bytes) -> Unavailable:
    seen = _seen(body)
    beginning = f": {clean(seen, _QUOTED)}" if seen else ""
    return Unavailable(f"the provider's answer cannot be read, {why}{beginning}", seen=seen)


def _is_complete(report: TaskReport) -> bool:
    """Return whether a final report has everything that it may have, although the end of the answer is missing."""
    return report.settles and report.usage is not None and report.usage.cost.amount is not None


def _accepted(  # noqa: PLR0911 - a table with one line per rule
    answer: Submission | None, body: bytes, external_task_id: str, *, exact: bool
) -> SubmitOutcome:
    if answer is None:
        unreadable = _unreadable("it is no JSON object", body)
        return Doubtful(unreadable.reason, seen=unreadable.seen)
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
    if not exact:
        # The id may be among what could not be read.
        return Doubtful(_reason(_OK, error), seen=_seen(body))
    return Doubtful(_reason(_OK, error)) if answer.task_id else NotCreated(error)


def _reason(status: int, error: TaskError, meaning: str = "") -> str:
    return f"{status}: " + (
        " ".join(part for part in (error.code, error.message) if part) or meaning or "no reason given"
    )
