"""What an answer of the provider means, as values. The reading is pure: status, headers and body in, one outcome out.

Source of every rule: the provider contract, "Answers to a submit: what each one means". Where it leaves room, the
cautious reading wins: what is not understood is in doubt, and gets looked up before anything is sent again.
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
    """The provider has it."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The provider had it already: look it up, never mint a new id."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Not created, and never will be: the request itself is wrong for the provider."""

    error: TaskError


@dataclass(frozen=True, slots=True)
class Held:
    """Not created; the whole lane must wait. `throttled`: too fast or too many; otherwise the account is at fault.

    `retry_after`: seconds that the provider asked for, 0 where it named none.
    """

    reason: str
    throttled: bool
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of the request left: the provider cannot be reached."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotCreated:
    """Answered, not created, and no reason why it should not be tried again."""

    error: TaskError


@dataclass(frozen=True, slots=True)
class Doubtful:
    """It may exist and cost money. `silent`: there was no answer, or only one of somebody in between (5xx)."""

    reason: str
    silent: bool = False


Submitted = Created | Exists | Refused | Held | NotSent | NotCreated | Doubtful


@dataclass(frozen=True, slots=True)
class Found:
    """The provider knows the task."""

    report: TaskReport


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider knows no such task; weak evidence, a fresh one may not be visible yet."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No word about the task. A failing look never fails a job. `silent`: as of `Doubtful`."""

    reason: str
    silent: bool = False


Looked = Found | Absent | Unavailable

#: Kling's codes in a body (provider contract): too fast and too many in flight; the account; the request.
THROTTLED = frozenset({"1302", "1303"})
ACCOUNT = frozenset({"1100", "1101", "1102", "1304"})
PERMANENT = frozenset({"1200", "1201", "1300", "1301", "002016001", "002016002", "002016003"})
#: "Retry-After" beyond this is a mistake, or an attack on our patience.
LONGEST_RETRY_AFTER = 900.0
#: Words by which an error says that the external id is taken (contract: "names the external id as a duplicate").
_TAKEN = ("duplicate", "already", "exist", "repeat", "unique", "taken", "in use")
_NOT_THERE = re.compile(r"\b(does not|doesn't|do not|don't|did not|didn't|must|cannot|can't) exist")
_NAMES = ("external_task_id", "external task id", "external id", "external_id")
_OK, _REDIRECT, _BAD_REQUEST, _NOT_FOUND, _TIMEOUT, _CONFLICT = 200, 300, 400, 404, 408, 409
_TOO_EARLY, _TOO_MANY, _SERVER = 425, 429, 500
_ACCOUNT_STATUS = {401: "the key is not accepted", 402: "the balance does not suffice", 403: "the key may not do this"}


def read_submit_answer(status: int, headers: Mapping[str, str], body: bytes, external_task_id: str) -> Submitted:
    """The meaning of an answer that arrived whole."""
    answer = _submission(body)
    error = (answer.error if answer else None) or TaskError("", "")
    if _OK <= status < _REDIRECT:
        return _accepted(answer)
    # Before the status: a provider that wraps "too many" into 400, or into 500, still says that nothing was created.
    if error.code in THROTTLED or status == _TOO_MANY:
        return Held(_said(status, error), throttled=True, retry_after=retry_after(headers))
    if status in _ACCOUNT_STATUS or error.code in ACCOUNT:
        return Held(_said(status, error, _ACCOUNT_STATUS.get(status, "")), throttled=False)
    if status == _CONFLICT or (status < _SERVER and _names_duplicate(error, external_task_id)):
        return Exists(_said(status, error))
    if _BAD_REQUEST <= status < _SERVER and status not in (_TIMEOUT, _TOO_EARLY):
        return Refused(TaskError(error.code or str(status), error.message or f"the provider answered {status}"))
    return Doubtful(_said(status, error), silent=_is_silence(status))


def read_status_answer(status: int, body: bytes, external_task_id: str) -> Looked | Held:
    """The meaning of the status endpoint's answer."""
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
    """`Retry-After` in seconds (RFC 9110: a number, or a date), capped; 0 where there is none or it is nonsense."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        # The latter for years and zones beyond a C integer.
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


def _accepted(answer: Submission | None) -> Submitted:  # noqa: PLR0911 - a table, a line each
    if answer is None:
        return Doubtful("the answer is not JSON")
    if answer.task_id and not answer.error:
        return Created(answer.task_id)
    # "A 200 without an id means that the task was not created", and so does an error in it; the code says what to do.
    error = answer.error or TaskError("", "the provider answered without an id")
    if error.code in THROTTLED:
        return Held(_said(_OK, error), throttled=True)
    if error.code in ACCOUNT:
        return Held(_said(_OK, error), throttled=False)
    if _names_duplicate(error, ""):
        return Exists(_said(_OK, error))
    if error.code in PERMANENT:
        return Refused(error)
    return Doubtful(_said(_OK, error)) if answer.task_id else NotCreated(error)


def _names_duplicate(error: TaskError, external_task_id: str) -> bool:
    message = _NOT_THERE.sub("", error.message.lower())
    named = any(name in message for name in _NAMES) or _names(message, external_task_id.lower())
    return named and any(word in message for word in _TAKEN)


def _names(message: str, ours: str) -> bool:
    """Whether our id stands in it as a word of its own. One that could be any word or number counts in quotes only."""
    if not ours:
        return False
    around = r"[\"'`]" if ours.isalpha() or ours.isdigit() else ""
    return re.search(rf"(?<![a-z0-9_~-]){around}{re.escape(ours)}{around}(?![a-z0-9_~-])", message) is not None


def _said(status: int, error: TaskError, meaning: str = "") -> str:
    return f"{status}: " + (
        " ".join(part for part in (error.code, error.message) if part) or meaning or "no reason given"
    )
