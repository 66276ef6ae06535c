"""Bulk actions: one change of all jobs that meet a filter, or only their count (a dry run)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from jobs.estimates import Estimate
from jobs.job_filter import JobFilter
from jobs.states import FINAL, State

#: Ids of bulk actions.
ID = re.compile(r"[0-9a-f]{16}")


class BulkAction(StrEnum):
    """What is done to each job. The rules are those of the same action on one job."""

    CANCEL = "cancel"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    PRIORITY = "priority"  #: change the priority of jobs that wait

    @property
    def states(self) -> Collection[State]:
        """The states of the jobs that it can change."""
        if self is BulkAction.CANCEL:
            return frozenset(State) - FINAL
        return FINAL - {State.COMPLETED} if self is BulkAction.RETRY else (State.QUEUED,)

    def meant(self, only: JobFilter) -> JobFilter:
        """Return the filter of the jobs to change. Without a state, a retry means failed jobs: each attempt costs."""
        return replace(only, states=(State.FAILED,)) if self is BulkAction.RETRY and not only.states else only


class BulkState(StrEnum):
    """How far a bulk action is."""

    RUNNING = "running"
    DONE = "done"
    ABORTED = "aborted"


class Skipped(StrEnum):
    """Why a job that meets the filter is left as it is."""

    CHANGED = "changed"  #: it changed after the action began, and may not have met the filter then
    ALREADY = "already"  #: it is as the action would leave it
    WORKING = "working"  #: the provider may still work on it
    HAS_OUTPUT = "has output"  #: it was cancelled, but has paid output
    IMAGELESS = "imageless"  #: an image that it names is not stored any more
    REFUSED = "refused"  #: its state does not allow the action
    DAMAGED = "damaged"  #: its record cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A bulk action. `affected`: jobs that it has changed, or with `dry_run` would change.

    `size`: jobs in the index that it reads, of which it has checked `checked`; not all of them meet the filter.
    `at_provider`: of those affected, the ones that the provider may have already. `estimate`: the expected cost of the
    others.
    `owner`: who began it, a producer or `ANYONE`; `key`: with which key.
    """

    id: str
    action: BulkAction
    state: BulkState
    dry_run: bool
    owner: str
    key: str
    began_at: datetime
    ended_at: datetime | None
    size: int
    checked: int
    affected: int
    at_provider: int
    skipped: Mapping[Skipped, int]
    estimate: Estimate
    asked: Mapping[str, object]  #: the filter, as its caller wrote it

    @property
    def share(self) -> float:
        """How much of the index is done, from 0 to 1."""
        if self.state is BulkState.DONE or not self.size:
            return 1.0
        return min(1.0, self.checked / self.size)


def id_from(caller: str, text: str) -> str:
    """Return the id that a caller's `Idempotency-Key` stands for: the same for the same."""
    return sha256(f"{caller}\n{text}".encode()).hexdigest()[:16]
