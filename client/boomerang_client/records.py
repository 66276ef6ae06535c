"""What the service shows, as records. Unknown fields are kept in `raw`, so a newer service does no harm.

A Job and a Batch are as the service showed them last: `refresh` and `wait` bring them up to date, in place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from boomerang_client.errors import UsageError
from boomerang_client.responses import BatchAccepted, BatchChanged, Saved


class Status(str, Enum):
    """Where a job stands."""

    #: accepted and recorded; waits for a slot
    QUEUED = "queued"
    #: a worker is about to send it, or is sending it
    SUBMITTING = "submitting"
    #: it is not known whether the provider has it; the service is finding out
    IN_DOUBT = "in_doubt"
    #: the provider works on it
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: given up at its deadline; may still become completed or failed when a late result arrives
    EXPIRED = "expired"
    #: a state that this version of the client does not know; `raw["status"]` names it
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "Status":  # noqa: ARG003 -- Enum calls it so
        return cls.UNKNOWN

    def __str__(self) -> str:
        return self.value

    @property
    def final(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self in FINAL


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})


@dataclass(frozen=True, slots=True)
class Output:
    """One generated image: `type` ("image") and the `url` where it lies for a limited time."""

    type: str
    url: str


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: the generation API's `code` and `message`."""

    code: str
    message: str


class JobService(Protocol):
    """What a job needs of the client that brought it."""

    def job(self, id: str) -> "Job": ...  # noqa: A002
    def wait_for_job(self, job: "Job", timeout: float | None) -> "Job": ...
    def save_job(self, job: "Job", folder: Path | str) -> list[Path]: ...


class BatchService(Protocol):
    """What a batch needs of the client that brought it."""

    def batch(self, lines: str, /) -> "Batch": ...
    def wait(self, batch: "Batch", progress: "Callable[[Batch], None] | bool", timeout: float | None) -> "Batch": ...
    def pause(self, batch: "Batch") -> BatchChanged: ...
    def resume(self, batch: "Batch", max_cost: Decimal | str | None) -> BatchChanged: ...
    def cancel_batch(self, batch: "Batch") -> BatchChanged: ...
    def retry_batch(
        self, batch: "Batch", codes: Iterable[str], statuses: Iterable[Status | str], *, dry_run: bool
    ) -> BatchChanged: ...
    def finished(self, batch: "Batch", timeout: float | None) -> Iterator["Job"]: ...
    def failures(self, batch: "Batch") -> Iterator["Job"]: ...
    def save(self, jobs: Iterable["Job"], folder: Path | str) -> Iterator[Saved]: ...


_Record = TypeVar("_Record", "Job", "Batch")
_Service = TypeVar("_Service", JobService, BatchService)


def _become(old: _Record, new: _Record) -> _Record:
    for one in fields(old):
        if one.name not in ("service", "upload"):
            setattr(old, one.name, getattr(new, one.name))
    return old


def _served(service: _Service | None) -> _Service:
    if service is None:
        raise UsageError("This record came from no client; get it from one to act on it.")
    return service


@dataclass(slots=True, kw_only=True)
class Job:
    """One job as the service showed it last. `cost` in US dollars, times in UTC, `raw` the answer itself.

    `expires_at`: when it is given up unpaid if it has not begun by then. `lane`: the provider account that it goes to.
    """

    id: str
    status: Status
    model: str
    output: tuple[Output, ...] = ()
    error: JobError | None = None
    cost: Decimal | None = None
    attempt: int = 1
    external_task_id: str | None = None
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
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    service: JobService | None = field(default=None, repr=False, compare=False)

    def refresh(self) -> "Job":
        """Ask for the job as it is now. Raises what `Client.job` raises."""
        return _become(self, _served(self.service).job(self.id))

    def wait(self, timeout: float | None = None) -> "Job":
        """The job once it is final, whatever its end; `timeout` in seconds, None waits as long as it takes.

        Raises StillRunning when the time is over first (the job goes on), and what `Client.job` raises.
        """
        if self.status.final:
            return self
        return _become(self, _served(self.service).wait_for_job(self, timeout))

    def save(self, folder: Path | str = ".") -> list[Path]:
        """The files of its images, `<id>-<number>.<kind>`; waits for its end first, and skips what is there.

        Raises NoOutput where it ended without any; NotSaved where one cannot be fetched or written.
        """
        return _served(self.service).save_job(self.wait(), folder)


@dataclass(slots=True, kw_only=True)
class Batch:
    """A batch as the service showed it last: `accepted` jobs, `counts` per state, which add up to it.

    `errors`: how many failed by error code. `rate`: jobs that ended a second, over the last minute. `eta`: seconds
    until all have, None where that is not known. `cost` so far, `expected_cost` at its end, and `max_cost` that it may
    reach, in US dollars. `paused`, and the `reason` why it waits. `upload`: what became of its lines, where this came
    from `Client.batch(lines)`.
    """

    id: str
    accepted: int
    done: bool
    cost: Decimal
    counts: Mapping[Status, int]
    errors: Mapping[str, int] = field(default_factory=dict)
    rate: float | None = None
    eta: float | None = None
    paused: bool = False
    reason: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: str | None = None
    weight: int | None = None
    max_cost: Decimal | None = None
    expected_cost: Decimal | None = None
    created_at: datetime | None = None
    upload: BatchAccepted | None = field(default=None, compare=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    service: BatchService | None = field(default=None, repr=False, compare=False)

    @property
    def finished(self) -> int:
        """Jobs that have ended, whatever their end."""
        return sum(number for status, number in self.counts.items() if status.final)

    @property
    def unsuccessful(self) -> int:
        """Jobs that have ended without a result: failed, cancelled or expired."""
        return self.finished - self.counts.get(Status.COMPLETED, 0)

    def refresh(self) -> "Batch":
        """Ask for the batch as it is now. Raises what `Client.batch` raises."""
        return _become(self, _served(self.service).batch(self.id))

    def wait(self, progress: "Callable[[Batch], None] | bool" = False, timeout: float | None = None) -> "Batch":  # noqa: FBT002 -- `progress=True` reads as it is meant
        """The batch once all its jobs have ended. `progress`: True shows it on stderr; or called at each change.

        Raises StillRunning when `timeout` seconds are over first (the batch goes on).
        """
        return _become(self, _served(self.service).wait(self, progress, timeout))

    def results(self, timeout: float | None = None) -> Iterator[Job]:
        """Its jobs as they end, whatever their end, each once; those that have ended already come first.

        Leave it when you like; asked for again it begins anew. Raises StillRunning when `timeout` seconds are over
        first.
        """
        return _served(self.service).finished(self, timeout)

    def failures(self) -> Iterator[Job]:
        """Its failed jobs so far, in input order; `Job.error` says why."""
        return _served(self.service).failures(self)

    def save(self, folder: Path | str = ".", progress: Callable[[Saved], None] | None = None) -> list[Saved]:
        """Fetch the images of its jobs as these end, several at once; skips what is there, so it may be repeated.

        Goes on when one fails: look for `error` in what comes back. `progress` is called with each.
        """
        saved = []
        for one in _served(self.service).save(self.results(), folder):
            saved.append(one)
            if progress is not None:
                progress(one)
        return saved

    def pause(self) -> BatchChanged:
        """Submit no more of it, from now on; what the provider has begun goes on."""
        return _served(self.service).pause(self)

    def resume(self, max_cost: Decimal | str | None = None) -> BatchChanged:
        """Let it go on; `max_cost` (US dollars) raises what it may cost in all."""
        return _served(self.service).resume(self, max_cost)

    def cancel(self) -> BatchChanged:
        """Give up on all its unfinished jobs; what the provider has begun may still cost."""
        return _served(self.service).cancel_batch(self)

    def retry(
        self, codes: Iterable[str] = (), statuses: Iterable[Status | str] = (), *, dry_run: bool = False
    ) -> BatchChanged:
        """Try its failed jobs again; see `Client.retry_batch`."""
        return _served(self.service).retry_batch(self, codes, statuses, dry_run=dry_run)
