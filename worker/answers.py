"""What an answer about a task means for its job, above all one that cannot be read, or none.

Such an answer says nothing about other jobs, so it neither opens a lane's circuit breaker nor closes it. The provider
has answered, so the job's deadline counts. `boomerang-server stuck` lists the job meanwhile.
"""

import logging
from dataclasses import dataclass
from typing import TypeGuard

from jobs.claims import Due
from jobs.lane_health import Reachability
from jobs.provider_result import no_output
from jobs.settings import Settings
from schemas import TaskStatus
from worker.provider import Absent, Doubtful, Found, Held, Unavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The provider gives no answer about this task, or refuses one, although it answers other calls."""

    reason: str


Answer = Found | Absent | Unavailable | Held | Unanswered

#: Seconds for which a completed task may have no result before its job fails: a gateway may copy the images first.
RESULT_PATIENCE = 300.0
#: Seconds for which the provider may give no answer about a task that is past its deadline, although it answers other
#: calls: part of it may be away for a while.
ANSWER_PATIENCE = 600.0


def is_unreadable(answer: Answer | Doubtful) -> bool:
    """Return whether the provider answered about the task, but its state cannot be read."""
    return isinstance(answer, (Unavailable, Doubtful)) and answer.seen is not None


def without_result(answer: Answer | Doubtful) -> bool:
    """Return whether a task is completed without a result that can be read. It may still get one."""
    return isinstance(answer, Found) and answer.report.status is TaskStatus.COMPLETED and not answer.report.output


def reachability(answer: Answer | Doubtful) -> Reachability:
    """Return what the outcome of a call shows about the provider."""
    if is_unreadable(answer):
        return Reachability.UNREADABLE
    if without_result(answer):
        return Reachability.NO_RESULT
    match answer:
        case Unavailable() | Doubtful():
            return Reachability.SILENCE if answer.silent else Reachability.NOTHING
        case Unanswered():
            return Reachability.UNANSWERED
        case Held():
            return Reachability.NOTHING  # `hold` records that the provider answered; it said nothing about the task
    return Reachability.ANSWER


def log_first(due: Due, answer: Answer) -> None:
    """Log the start of the first answer about a job that cannot be read."""
    if isinstance(answer, Unavailable) and answer.seen is not None and due.job.unreadable_since is None:
        log.warning("job %s: %s", due.job.id, unreadable(answer.seen))


def unreadable(seen: str) -> str:
    """Return the text of the log line. `seen`: the start of the answer, escaped."""
    return (
        f"the provider's answer cannot be read, it begins with: {seen}"
        if seen
        else "the provider's answer is empty or has odd headers"
    )


def problem_of(answer: Answer) -> str:
    """Return the reason of a job whose poll or look-up changes nothing; empty if all is well."""
    match answer:
        case Held(reason) | Unavailable(reason):
            return f"poll: {reason}"
        case Unanswered(reason):
            return f"poll: {reason}, although the provider answers other calls"
        case Found(report) if report.status is TaskStatus.UNKNOWN:
            text = ascii(report.status_text[:40])
            log.warning("the provider reports the unknown status %s, the job is polled again", text)
            return f"poll: the provider reports the unknown status {text}"
        case Found(report) if without_result(answer):
            return f"poll: {no_output(report)}"
    return ""


def is_end(answer: Answer) -> TypeGuard[Found]:
    """Return whether the attempt is over. A missing price does not matter here."""
    if not isinstance(answer, Found):
        return False
    report = answer.report
    return report.status is TaskStatus.FAILED or (report.status is TaskStatus.COMPLETED and bool(report.output))


def ends_without_result(answer: Answer, due: Due) -> TypeGuard[Found]:
    """Return whether to wait no longer for the result of a completed task."""
    return without_result(answer) and (due.overdue or due.no_result_for >= RESULT_PATIENCE)


def is_late(due: Due, settings: Settings) -> bool:
    """Return whether the job should have ended: past its deadline, or in doubt for as long as that is."""
    return due.overdue or due.doubtful_for >= settings.deadline


def is_last_poll(due: Due, answer: Answer) -> bool:
    """Return whether the job expires now. No deadline passes while the lane's provider answers no call."""
    return due.overdue and _is_last_word(due, answer)


def _is_last_word(due: Due, answer: Answer) -> bool:
    """Return whether a late job waits for no better answer."""
    if isinstance(answer, Unanswered):
        return due.unanswered_for >= ANSWER_PATIENCE
    return is_unreadable(answer) or isinstance(answer, (Found, Absent))


def exists_unreadably(due: Due, answer: Answer, settings: Settings) -> bool:
    """Return whether a job in doubt counts as in progress, so that it ends.

    It was looked up for as long as the provider may take for a job, and the answer was not that there is none. A job
    that Redis may have forgotten was perhaps never sent: it stays in doubt.
    """
    says_nothing = is_unreadable(answer) or isinstance(answer, Unanswered)
    return says_nothing and is_late(due, settings) and _is_last_word(due, answer) and not due.job.forgotten
