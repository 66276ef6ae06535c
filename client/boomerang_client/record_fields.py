"""What jobs and batches consist of. Their records add the calls: `records.Job`, `asynchronous.AsyncJob` and others."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar

from boomerang_client.choices import Include, Verdict
from boomerang_client.errors import UsageError
from boomerang_client.outputs import Output, Saving
from boomerang_client.responses import BatchAccepted


class Status(str, Enum):
    """The state of a job."""

    #: accepted and stored; waits for a slot
    QUEUED = "queued"
    #: a worker is about to submit it, or is submitting it
    SUBMITTING = "submitting"
    #: it is unknown whether the provider has it; the service looks it up
    IN_DOUBT = "in_doubt"
    #: the provider is generating
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: given up at its deadline; a late result can still make it completed or failed
    EXPIRED = "expired"
    #: a state that this version of the client does not know; `raw["status"]` has its name
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "Status":  # noqa: ARG003 -- Enum's signature
        return cls.UNKNOWN

    def __str__(self) -> str:
        return self.value

    @property
    def final(self) -> bool:
        """Whether the job has ended, so that there is nothing to wait for."""
        return self in FINAL

    @property
    def words(self) -> str:
        """The state as people write it: "in progress"."""
        return self.value.replace("_", " ")


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
#: States in the order in which people read them: what was achieved, what went wrong, what is left.
DISPLAY_ORDER = (
    Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED, Status.IN_PROGRESS, Status.IN_DOUBT,
    Status.SUBMITTING, Status.QUEUED, Status.UNKNOWN,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, or what is wrong although it completed: a `code` and a `message`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """The jobs of a batch that run before it is approved.

    `jobs` is their number (None until the upload has named all lines), `unfinished` the number of those that have not
    ended. `cost` is what the batch had cost when it was approved, or has cost so far, in US dollars.
    """

    jobs: int | None
    unfinished: int = 0
    cost: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """An earlier revision of a job's request: how it ended, and what it cost, before the request was corrected.

    `request` is set where it was included.
    """

    revision: int
    status: Status
    error: JobError | None = None
    failure: str | None = None
    cost: Decimal | None = None
    first_attempt: int = 1
    last_attempt: int = 1
    finished_at: datetime | None = None
    corrected_at: datetime | None = None
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What a person thinks of an output. `output` is its number, from 0; `by` is the id of the reviewer's key.

    `verdict` is None where the output has neither been accepted nor rejected.
    """

    output: int
    verdict: Verdict | None = None
    starred: bool = False
    note: str = ""
    by: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event in the past of a job: `count` times, at last at `at`.

    `by` is the id of the key, or the name of the person, who caused it; `cause` is what settled an attempt.
    """

    at: datetime
    event: str
    count: int = 1
    by: str | None = None
    cause: str | None = None


#: What a job has only where a call included it.
INCLUDED: tuple[Include, ...] = ("request", "revisions", "reviews", "timeline")


@dataclass(slots=True, kw_only=True)
class JobFields:
    """One job in the state that the service returned last.

    `cost` is what all its attempts cost together, in US dollars; times are in UTC, `raw` is the whole answer. `failure`
    is the class of the error: moderation, quota, invalid, transient, provider or unsaved. `revision` counts the
    corrections of the request, from 1. `regenerates` is the completed job whose images it generates once more,
    `regenerated_by` the job that generates its own once more. `provider_external_id` names the last attempt at the
    provider. `expires_at` is the time at which the job ends unpaid if it has not begun. `lane` is the provider account
    of the current attempt.
    `unknown_cost` is what the generation API sent as a cost that cannot be read: an operator settles what the job cost.
    `owner` is the producer whose key made it. `saving` is set while the service is to save its images.
    `request`, the earlier `revisions`, the `reviews` of its outputs and the `timeline` are set where a call included
    them (`include`).
    """

    id: str
    status: Status
    model: str
    output: tuple[Output, ...] = ()
    error: JobError | None = None
    warnings: tuple[JobError, ...] = ()
    cost: Decimal | None = None
    failure: str | None = None
    attempt: int = 1
    revision: int = 1
    external_task_id: str | None = None
    provider_external_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    finished_at: datetime | None = None
    settled_by: str | None = None
    batch: str | None = None
    reason: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: str | None = None
    expires_at: datetime | None = None
    lane: str | None = None
    unknown_cost: str | None = None
    owner: str | None = None
    saving: Saving | None = None
    request: Mapping[str, Any] | None = None
    revisions: tuple[Revision, ...] = ()
    reviews: tuple[Review, ...] = ()
    regenerates: str | None = None
    regenerated_by: str | None = None
    timeline: tuple[JobEvent, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(slots=True, kw_only=True)
class BatchFields:
    """A batch in the state that the service returned last.

    `accepted` is the number of its jobs, and `counts` their number by state. `errors` counts failed jobs by error code,
    and `classes` by class of failure.
    `rate` is the number of jobs that ended per second in the last minute. `eta` is the number of seconds until all have
    ended, None if unknown. `cost` is what it has cost so far, `expected_cost` what it will cost, and `max_cost` what it
    may cost, in US dollars. `reason` says why a batch waits. `awaits_approval`: its jobs, but for those of its `pilot`,
    begin once it is approved. `to_save` counts jobs whose results the service is still to save, `unsaved` those whose
    results it could not save. `reviews` counts outputs that people accepted, rejected and starred. `owner` is the
    producer whose key made it. `upload` is the outcome of the upload, for a batch that came from `Client.batch(lines)`.
    """

    id: str
    accepted: int
    done: bool
    cost: Decimal
    counts: Mapping[Status, int]
    errors: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    rate: float | None = None
    eta: float | None = None
    paused: bool = False
    awaits_approval: bool = False
    pilot: Pilot | None = None
    reason: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: str | None = None
    weight: int | None = None
    unknown_costs: int = 0
    max_cost: Decimal | None = None
    expected_cost: Decimal | None = None
    to_save: int = 0
    unsaved: int = 0
    reviews: Mapping[str, int] = field(default_factory=dict)
    created_at: datetime | None = None
    owner: str | None = None
    upload: BatchAccepted | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> int:
        """The number of jobs that have ended, whatever their end."""
        return sum(number for status, number in self.counts.items() if status.final)

    @property
    def unsuccessful(self) -> int:
        """The number of jobs that ended without a result. `counts` has failed, cancelled and expired ones apart."""
        return self.finished - self.counts.get(Status.COMPLETED, 0)

    def by_state(self) -> list[tuple[Status, int]]:
        """Return the states that have jobs, with their numbers: completed first, then the other ends, queued last."""
        return [(status, self.counts[status]) for status in DISPLAY_ORDER if self.counts.get(status)]


_Record = TypeVar("_Record", bound="JobFields | BatchFields")
_Service = TypeVar("_Service")


def update(old: _Record, new: _Record) -> _Record:
    """Bring a record to the state of another one."""
    for one in fields(old):
        # What was included before stays where the new answer does not include it.
        if one.name not in ("service", "upload") and (one.name not in INCLUDED or one.name in new.raw):
            setattr(old, one.name, getattr(new, one.name))
    return old


def required(service: _Service | None) -> _Service:
    if service is None:
        raise UsageError("This record has no client. Get it from a Client to act on it.")
    return service
