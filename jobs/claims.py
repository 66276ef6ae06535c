"""What a worker has claimed: jobs whose alarm was due, admitted jobs, or the right to send an attempt."""

from dataclasses import dataclass
from datetime import datetime

from jobs.attempt_ids import external_id
from jobs.errors import RecordDamaged
from jobs.job import LANE, Delivery, Job


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed job whose alarm was due. The claim allows its holder to act on the job until the lease ends."""

    job: Job
    now: datetime  #: of the claim, by Redis's clock

    @property
    def owed(self) -> frozenset[Delivery]:
        """The deliveries that are due. Where both kinds are owed, each has a time of its own."""
        times = {Delivery.CELERY: self.job.celery_at, Delivery.NOTIFY: self.job.notify_at}
        return frozenset(kind for kind in self.job.owed if (at := times[kind]) is None or at <= self.now)

    @property
    def doubtful_for(self) -> float:
        """Seconds since its outcome became unknown; 0: it is known."""
        return self._seconds_since(self.job.doubt_since)

    @property
    def unanswered_for(self) -> float:
        """Seconds since the provider gives no answer about it, although it answers other calls; 0: it did."""
        return self._seconds_since(self.job.unanswered_since)

    @property
    def no_result_for(self) -> float:
        """Seconds since the provider completed it without a usable result; 0: it did not."""
        return self._seconds_since(self.job.no_result_since)

    @property
    def overdue(self) -> bool:
        """Whether its deadline has passed."""
        return self.job.deadline is not None and self.now >= self.job.deadline

    def _seconds_since(self, moment: datetime | None) -> float:
        return (self.now - moment).total_seconds() if moment else 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one attempt, until the lease ends."""

    id: str
    fence: int
    attempt: int
    submit_tries: int
    text: str
    lane: str = LANE
    maybe_sent: bool = False  #: an earlier submission of the attempt may have arrived

    @property
    def external_task_id(self) -> str:
        """The external id of the attempt."""
        return external_id(self.id, self.attempt)


@dataclass(frozen=True, slots=True)
class Admission:
    """Jobs that were admitted; `more`: others could follow at once."""

    ids: tuple[str, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class DueJobs:
    """Claimed jobs whose alarm is due, and how many were due in all (`due_count`).

    `admit_hint`: send an admission hint. `epoch`: Redis's. `damaged`: due jobs whose records cannot be read.
    """

    dues: tuple[Due, ...]
    due_count: int
    admit_hint: bool
    epoch: int
    damaged: tuple[RecordDamaged, ...] = ()
