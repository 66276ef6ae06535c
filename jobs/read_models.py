"""Read models of many jobs together: a batch, a lane, all jobs, a page."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from jobs.batch_ends import Ends
from jobs.estimates import NOTHING, Estimate
from jobs.failures import FailureClass, classify
from jobs.job import Job, Priority
from jobs.lane_health import LaneEvent
from jobs.lanes import LaneSettings
from jobs.limits import Overrides
from jobs.review import Mark
from jobs.states import FINAL, State


class Progress(StrEnum):
    """The state of a batch as a whole."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"  #: all its jobs have ended

    @classmethod
    def of(cls, accepted: int, ended: int, *, paused: bool, taking_in: bool) -> "Progress":
        """Derive it from the counters. `taking_in`: an upload of all lines or none is still being enqueued."""
        if ended == accepted and not taking_in:
            return cls.DONE
        return cls.PAUSED if paused else cls.RUNNING


@dataclass(frozen=True, slots=True)
class Pilot:
    """The jobs of a batch that run before it is approved: how many, how many have not ended, and their cost in USD.

    `jobs` is None until the upload has named all lines.
    """

    jobs: int | None
    unfinished: int
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch. `counts` has every state; `cost` sums all recorded results, in USD.

    `errors`: failed jobs by error code, without deleted ones; codes of more than 64 bytes count as "".
    `estimate`: `cost` and the cost of unfinished jobs. `reason`: why it is
    paused, or waits. `rate`: jobs that ended per second, recently. `eta`: seconds until all have ended; None if unknown
    (jobs.eta).
    """

    id: str
    accepted: int
    counts: Mapping[State, int]
    cost: Decimal
    created_at: datetime
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    weight: int = 1
    max_cost: Decimal | None = None
    unknown_costs: int = 0  #: jobs whose cost is not known, and not part of `cost`
    estimate: Estimate = NOTHING
    reason: str | None = None
    pools: tuple[str, ...] = ()  #: those that its jobs wait, or waited, in
    paused: bool = False
    awaits_approval: bool = False  #: its jobs, but for those of its pilot, are not submitted before it is approved
    pilot: Pilot | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    reviews: Mapping[Mark, int] = field(default_factory=dict)  #: outputs with each mark, without deleted jobs
    to_save: int = 0  #: jobs whose results are to be saved
    unsaved: int = 0  #: jobs whose results could not be saved, and are given up
    taking_in: bool = False  #: lines that were accepted together are still being taken in
    rate: float = 0.0
    ends: Ends | None = None  #: when its jobs ended; None: not read
    eta: float | None = None

    @property
    def expected_cost(self) -> Decimal | None:
        """The expected cost when all jobs have ended; None if a price is unknown."""
        return self.estimate.expected

    @property
    def classes(self) -> Mapping[FailureClass, int]:
        """Its failed jobs by class of failure; classes without jobs are left out."""
        counts = Counter[FailureClass]()
        for code, count in self.errors.items():
            counts[classify(code)] += count
        return {failure: counts[failure] for failure in FailureClass if counts[failure]}

    @property
    def progress(self) -> Progress:
        """The state of the batch as a whole."""
        ended = sum(self.counts[state] for state in FINAL)
        return Progress.of(self.accepted, ended, paused=self.paused, taking_in=self.taking_in)

    @property
    def done(self) -> bool:
        """Whether all jobs have ended."""
        return self.progress is Progress.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The state of a provider account.

    `slots`: in use. `limit`: of slots, the lower of the configured and the learned one (0: no limit). `learned`: the
    learned limit, None if it learns none. `dispatched`: images on their way to a worker. `ready`: jobs that wait for
    it. `held`: nothing is sent now, because of a pause, a hold or an open circuit breaker. `held_until`: when that
    ends, or the next probe; None for a pause without an end. `settings`: those in force, None if it is not configured.
    `cost`: None if the reader may not see it.
    """

    name: str
    pool: str
    settings: LaneSettings | None
    slots: int
    dispatched: int
    ready: int
    held: bool
    paused: bool
    held_until: datetime | None
    held_since: datetime | None
    reason: str | None
    open_since: datetime | None
    opened: int
    learned: float | None
    limit: int
    history: tuple[LaneEvent, ...]
    cost: Decimal | None
    unknown_costs: int = 0  #: results of unknown cost so far
    configured: LaneSettings | None = None  #: its settings without the overrides
    overrides: Overrides = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of all jobs: by state, and by pool those that wait for admission; `cost` in USD.

    `images`: how many are stored, with `image_bytes`. `epoch`: its number. `sees_restarts`: whether restarts of Redis
    can be detected (None: unknown).
    """

    counts: Mapping[State, int]
    ready: Mapping[str, int]
    cost: Decimal
    contradicted: int
    unreadable: int = 0
    images: int = 0
    image_bytes: int = 0
    epoch: int = 0
    sees_restarts: bool | None = None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Batches, and the cursor of the next page (None: this is the last)."""

    batches: tuple[Batch, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs, and the cursor of the next page (None: this is the last).

    `after`: for each job, the cursor of a page that begins after it.
    """

    jobs: tuple[Job, ...]
    cursor: str | None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs meet a filter; unless `exact`, at least so many."""

    jobs: int
    exact: bool
