"""Decisions of an operator: the outcome of a submission that cannot be looked up. And what is stuck."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from jobs.connections.errors import translate_errors
from jobs.decoding import UNREADABLE, decoding
from jobs.failures import GIVEN_UP
from jobs.fields import printable
from jobs.job import Job
from jobs.policy import LOOKUPS_BEFORE_ABSENT, RECHECK
from jobs.result import Result
from jobs.store.context import StoreContext
from jobs.store.outcomes.repairs import SettleCostOutcome, SettleOutcome
from jobs.store.transitions import TransitionResult, read_transition
from jobs.units import duration_micros, from_micros, nano, to_micros


class Verdict(StrEnum):
    """An operator's decision about an attempt in doubt."""

    SENT = "sent"  #: the provider has it, under its own task id
    NOT_SENT = "not-sent"  #: the provider does not have it: it is sent again, under the same external id
    FAILED = "failed"  #: the job is given up: it fails, and nothing is sent again


#: What may go wrong with each.
RISKS = {
    Verdict.SENT: "If the task belongs to another job, that job's result becomes this job's.",
    Verdict.NOT_SENT: "Each job is sent again under the same external id. If the provider has its task after all, it "
    "may be paid for TWICE. Search the provider's console for each external id first.",
    Verdict.FAILED: "Each job ends as failed and is not sent again. If the provider has its task after all, that is "
    "paid for, and its result is ignored.",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """The number of entries, and the first of them with their times."""

    count: int
    named: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True, slots=True)
class Stuck:
    """What is stuck: jobs and batches since when, queues with the time of their next check.

    `damaged`: jobs whose records a round of reconcile could not read. `unknown_costs`: jobs with a result whose cost is
    unknown. `unreadable`: jobs about which the provider gives no readable answer. `unsaved`: jobs whose results could
    not be saved.
    """

    now: datetime
    doubts: Sample
    undelivered: Sample
    at_cap: Sample
    capped: Sample
    damaged: Sample
    unknown_costs: Sample
    unreadable: Sample
    unsaved: Sample


class Manual:
    """The verbs of operators. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._settings = context.configured

    def settle(self, job: Job, verdict: Verdict, *, task_id: str = "", by: str = "") -> TransitionResult[SettleOutcome]:
        """Settle a job of unknown outcome, as it was read. `task_id`: the provider's; `by`: the person who decides.

        Nothing changes unless it is unknown since the same time, so a repeat does nothing.
        """
        reason = f"settled by hand{' by ' + by if by else ''}: {verdict}{' as ' + task_id if task_id else ''}"
        result = Result(error={"code": GIVEN_UP, "message": f"{reason}; its outcome was not known"})
        row = self._scripts.call(
            "settle",
            job.id,
            to_micros(job.unknown_since) if job.unknown_since else "",
            verdict,
            task_id,
            result.to_json(),
            reason,
            LOOKUPS_BEFORE_ABSENT,
            duration_micros(self._settings.deadline),
            duration_micros(RECHECK),
            by,
        )
        return read_transition(SettleOutcome, row)

    def settle_cost(self, job_id: str, cost: Decimal, *, by: str = "") -> TransitionResult[SettleCostOutcome]:
        """Settle the unknown cost of a job, in USD. A repeat does nothing. Raises `RecordDamaged`.

        The result shows the cost if it has none. A result with one succeeded an attempt whose cost is unknown.
        """
        with translate_errors():
            before = str(self._client.get(self._keys.member("result", job_id)) or "")
        after = ""
        if before:
            with decoding(f"job {printable(job_id)}"):
                result = Result.from_json(before)
            after = replace(result, cost=cost).to_json() if result.cost is None else ""
        outcome, hint = self._scripts.call("settle_cost", job_id, nano(cost), before, after, by)
        return TransitionResult(SettleCostOutcome(outcome), None, admit_hint=bool(hint))

    def stuck(self, longer_than: float, most: int, skip: int = 0) -> Stuck:
        """Find what is stuck, up to `most` of each kind after the first `skip`.

        Jobs in doubt count after `longer_than` seconds.
        """
        now, *kinds = self._scripts.call("stuck", duration_micros(longer_than), most, skip)
        found = [
            Sample(count, tuple((str(name), _time(score)) for name, score in zip(rows[::2], rows[1::2], strict=True)))
            for count, *rows in kinds
        ]
        return Stuck(from_micros(now), *found)


def _time(score: str) -> datetime:
    """Read a time from an index; one that is not a number counts as 1970."""
    try:
        return from_micros(score)
    except UNREADABLE:
        return from_micros(0)
