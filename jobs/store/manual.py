"""By hand: what became of a submission that nobody can look up, and deliveries that were given up."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jobs.decoding import UNREADABLE
from jobs.job import Job, Result
from jobs.policy import LOOKUPS_BEFORE_ABSENT, RECHECK
from jobs.store.context import StoreContext
from jobs.store.outcomes import SettleOutcome
from jobs.store.transitions import TransitionResult, read_transition
from jobs.units import duration_micros, from_micros, to_micros

#: The error code of a job that a person has given up.
GIVEN_UP = "given_up"


class Verdict(StrEnum):
    """What a person says of an attempt in doubt."""

    SENT = "sent"  #: the provider has it, under an id of its own
    NOT_SENT = "not-sent"  #: the provider has not got it: it is sent again, under the same external id
    FAILED = "failed"  #: nobody waits for it any more: it ends, and nothing is sent again


@dataclass(frozen=True, slots=True)
class Sample:
    """How many there are, and the first of them, each with a time."""

    count: int
    named: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """What does not go on by itself: jobs and batches with since when, queues with when they are looked at again.

    `damaged`: jobs whose records a round has met and cannot act upon, with since when.
    """

    now: datetime
    doubts: Sample
    undelivered: Sample
    at_cap: Sample
    capped: Sample
    damaged: Sample


class Manual:
    """The verbs for what only a person can decide. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts
        self._settings = context.settings

    def settle(self, job: Job, verdict: Verdict, *, task_id: str = "", by: str = "") -> TransitionResult[SettleOutcome]:
        """Say what became of a job in doubt, as it was read: `task_id` is the provider's, `by` names who says so.

        Nothing changes unless it is still the same doubt, so a repeat does nothing.
        """
        reason = f"settled by hand{' by ' + by if by else ''}: {verdict}{' as ' + task_id if task_id else ''}"
        result = Result(error={"code": GIVEN_UP, "message": f"{reason}; its outcome was not known"})
        row = self._scripts.call(
            "settle",
            job.id,
            to_micros(job.doubt_since) if job.doubt_since else "",
            verdict,
            task_id,
            result.to_json(),
            reason,
            LOOKUPS_BEFORE_ABSENT,
            duration_micros(self._settings.deadline),
            duration_micros(RECHECK),
        )
        return read_transition(SettleOutcome, row)

    def stuck(self, longer_than: float, most: int) -> Stuck:
        """What does not go on by itself; jobs in doubt count after so many seconds. `most` of each kind are named."""
        now, *kinds = self._scripts.call("stuck", duration_micros(longer_than), most)
        found = [
            Sample(count, tuple((str(name), _time(score)) for name, score in zip(rows[::2], rows[1::2], strict=True)))
            for count, *rows in kinds
        ]
        return Stuck(from_micros(now), *found)


def _time(score: str) -> datetime:
    """The time in an index; a score that is none counts as the beginning of time."""
    try:
        return from_micros(score)
    except UNREADABLE:
        return from_micros(0)
