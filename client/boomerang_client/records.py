"""What the service shows, as frozen records. Unknown fields are kept in `raw`, so a newer service does no harm."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Protocol

from boomerang_client.errors import UnexpectedAnswer, field_errors


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


class Service(Protocol):
    """What a job needs of the client that brought it."""

    def wait_for_job(self, job: "Job", timeout: float | None) -> "Job": ...


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the service showed it at one moment. `cost` in US dollars, times in UTC, `raw` the answer itself."""

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
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    service: Service | None = field(default=None, repr=False, compare=False)

    def wait(self, timeout: float | None = None) -> "Job":
        """The job once it is final, whatever its end; `timeout` in seconds, None waits as long as it takes.

        Raises StillRunning when the time is over first (the job goes on), and what `Client.job` raises.
        """
        if self.status.final or self.service is None:
            return self
        return self.service.wait_for_job(self, timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch at one moment: `accepted` jobs, `counts` per state (they add up to it), `cost` so far in US dollars.

    `errors`: how many failed by error code. `rate`: jobs that ended a second, over the last minute. `eta`: seconds
    until all have, None where that is not known. `paused`: its waiting jobs are held back on request.
    """

    id: str
    accepted: int
    done: bool
    cost: Decimal
    counts: Mapping[Status, int] = field(hash=False)
    errors: Mapping[str, int] = field(default_factory=dict, hash=False)
    rate: float | None = None
    eta: float | None = None
    paused: bool = False
    created_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> int:
        """Jobs that have ended, whatever their end."""
        return sum(number for status, number in self.counts.items() if status.final)

    @property
    def unsuccessful(self) -> int:
        """Jobs that have ended without a result: failed, cancelled or expired."""
        return self.finished - self.counts.get(Status.COMPLETED, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanged:
    """What was done to a batch: `affected` jobs so far; `pending` at most follow by themselves."""

    id: str
    action: str
    affected: int
    pending: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class LineError:
    """A refused line of a batch: its number (from 1), field path → messages, the generation API's codes."""

    line: int
    errors: Mapping[str, tuple[str, ...]] = field(hash=False)
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccepted:
    """What became of an upload: new jobs, jobs `known` before, `rejected` lines; `errors` shows the first 1,000."""

    id: str
    accepted: int
    known: int
    rejected: int
    errors: tuple[LineError, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_job(data: object, service: Service | None = None) -> Job:
    """A job from the service's view of it; raises UnexpectedAnswer."""
    view = _object(data, "job")
    usage, error = view.get("usage") or {}, view.get("error")
    try:
        return Job(
            id=str(view["id"]),
            status=Status(view["status"]),
            model=str(view.get("model") or ""),
            output=tuple(Output(str(one.get("type", "image")), str(one["url"])) for one in view.get("output") or ()),
            error=JobError(str(error.get("code") or ""), str(error.get("message") or "")) if error else None,
            cost=_money(usage.get("cost")),
            attempt=int(view.get("attempt") or 1),
            external_task_id=view.get("external_task_id"),
            created_at=_moment(view.get("created_at")),
            updated_at=_moment(view.get("updated_at")),
            finished_at=_moment(view.get("finished_at")),
            settled_by=view.get("settled_by"),
            batch=view.get("batch"),
            reason=view.get("reason"),
            labels=dict(view.get("labels") or {}),
            raw=view,
            service=service,
        )
    except _MALFORMED as problem:
        raise _unexpected("job", problem) from problem


def read_batch(data: object) -> Batch:
    """A batch from the service's view of it; raises UnexpectedAnswer."""
    view = _object(data, "batch")
    try:
        counts: dict[Status, int] = {}
        for name, number in view["counts"].items():
            counts[Status(name)] = counts.get(Status(name), 0) + int(number)
        return Batch(
            id=str(view["id"]),
            accepted=int(view["accepted"]),
            done=bool(view["done"]),
            cost=_money(view.get("cost")) or Decimal(0),
            counts=counts,
            errors={str(code): int(number) for code, number in (view.get("errors") or {}).items()},
            rate=None if view.get("rate") is None else float(view["rate"]),
            eta=None if view.get("eta") is None else float(view["eta"]),
            paused=bool(view.get("paused")),
            created_at=_moment(view.get("created_at")),
            raw=view,
        )
    except _MALFORMED as problem:
        raise _unexpected("batch", problem) from problem


def read_changed(data: object) -> BatchChanged:
    """What was done to a batch, from the service's answer; raises UnexpectedAnswer."""
    view = _object(data, "change of a batch")
    try:
        return BatchChanged(
            id=str(view["id"]),
            action=str(view["action"]),
            affected=int(view["affected"]),
            pending=int(view.get("pending") or 0),
            raw=view,
        )
    except _MALFORMED as problem:
        raise _unexpected("change of a batch", problem) from problem


def read_accepted(data: object) -> BatchAccepted:
    """What became of an upload, from the service's answer; raises UnexpectedAnswer."""
    view = _object(data, "batch")
    try:
        errors = tuple(
            LineError(int(one["line"]), field_errors(one.get("errors")), tuple(map(str, one.get("codes") or ())))
            for one in view.get("errors") or ()
        )
        return BatchAccepted(
            id=str(view["id"]),
            accepted=int(view["accepted"]),
            known=int(view.get("known") or 0),
            rejected=int(view.get("rejected") or len(errors)),
            errors=errors,
            raw=view,
        )
    except _MALFORMED as problem:
        raise _unexpected("batch", problem) from problem


_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, InvalidOperation)


def _object(data: object, what: str) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    raise _unexpected(what, f"{type(data).__name__} instead of an object")


def _unexpected(what: str, problem: object) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"The answer is not a {what} as Boomerang shows it ({problem!r}). Check BOOMERANG_URL, then the versions."
    )


def _money(value: object) -> Decimal | None:
    return None if value is None or value == "" else Decimal(str(value))


def _moment(value: str | None) -> datetime | None:
    # Python 3.10 does not read the "Z" of ISO 8601.
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None
