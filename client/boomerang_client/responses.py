"""Frozen records for what single calls return."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from boomerang_client.errors import LineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What will stop or delay jobs. `code` is for programs, `message` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccepted:
    """The outcome of an upload.

    `accepted` counts new jobs, `known` lines whose job existed already, `rejected` refused lines. `errors` lists the
    first 1,000 refused lines. `pilot` is the number of jobs that begin before the batch is approved.
    `warnings` tells of a `max_cost` that the batch will reach before its end.
    """

    id: str
    accepted: int
    known: int = 0
    rejected: int = 0
    errors: tuple[LineError, ...] = ()
    pilot: int | None = None
    warnings: tuple[Note, ...] = ()

    @property
    def view(self) -> dict[str, Any]:
        """The outcome as the service returns it in JSON."""
        errors = [{"line": one.line, "errors": dict(one.errors), "codes": list(one.codes)} for one in self.errors]
        counts = {"accepted": self.accepted, "known": self.known, "rejected": self.rejected}
        warnings = [{"code": one.code, "message": one.message} for one in self.warnings]
        return {"id": self.id, **counts, "errors": errors, "pilot": self.pilot, "warnings": warnings}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanged:
    """The outcome of a change to a whole batch.

    `affected` counts the jobs changed so far. Up to `pending` more follow without another call.
    """

    id: str
    action: str
    affected: int
    pending: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """One result and the file that holds it. `index`: its place in `Job.output`.

    `was_there`: an earlier call saved the file. `error`: why there is no file.
    """

    job: str
    url: str
    path: Path | None = None
    was_there: bool = False
    error: str | None = None
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """The spending of one day, key, batch, model or lane. `cost` is in US dollars."""

    name: str
    cost: Decimal
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Spending grouped by `by`, with totals. `cost` is in US dollars."""

    by: str
    rows: tuple[SpendRow, ...]
    cost: Decimal
    jobs: int
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that keeps the service from its work, such as a worker that does not answer.

    `what` says what is wrong, and `do` what the operator can do. `code` names it for programs: see `GET /v1/lanes`.
    """

    code: str
    what: str
    do: str = ""
    since: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One provider account.

    `slots` counts the images that the provider may be generating. `max_in_flight` is their configured maximum and
    `limit` the one in force; 0 means no limit. `ready` counts the jobs that wait. While the lane is `held` it sends
    nothing: `reason` says why, `held_until` until when (None: unknown). `breaker` is the state of its circuit breaker:
    "closed" (normal) or "open". `configured` is False for a lane that the service's settings no longer contain.
    `spent` is in US dollars, and None for keys that may not see it.
    """

    name: str
    slots: int = 0
    max_in_flight: int = 0
    limit: int = 0
    ready: int = 0
    held: bool = False
    held_until: datetime | None = None
    reason: str | None = None
    breaker: str | None = None
    configured: bool = True
    spent: Decimal | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def healthy(self) -> bool:
        """Whether the lane sends jobs now."""
        return self.configured and not self.held and self.breaker in (None, "closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The provider accounts, and the troubles of the service as a whole: none while it works.

    `last_round_age` is the number of seconds since the service last looked for due jobs, which it does every second.
    It is None if unknown.
    """

    lanes: tuple[Lane, ...]
    troubles: tuple[Trouble, ...] = ()
    last_round_age: float | None = None
