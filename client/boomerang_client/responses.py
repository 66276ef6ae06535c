"""What single calls answer, as frozen records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from boomerang_client.errors import LineError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccepted:
    """What became of an upload: new jobs, those known before, refused lines (`errors` lists the first 1,000)."""

    id: str
    accepted: int
    known: int = 0
    rejected: int = 0
    errors: tuple[LineError, ...] = ()

    @property
    def view(self) -> dict[str, Any]:
        """As the service shows it."""
        errors = [{"line": one.line, "errors": dict(one.errors), "codes": list(one.codes)} for one in self.errors]
        counts = {"accepted": self.accepted, "known": self.known, "rejected": self.rejected}
        return {"id": self.id, **counts, "errors": errors}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanged:
    """What was done to a batch: `affected` jobs so far; `pending` at most follow by themselves."""

    id: str
    action: str
    affected: int
    pending: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A result and the file that it is in. `was_there`: it was saved before. `error`: why there is no file."""

    job: str
    url: str
    path: Path | None = None
    was_there: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRow:
    """What was spent under one name: a day, a key, a batch, a model or a lane. `cost` in US dollars."""

    name: str
    cost: Decimal
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What was spent, by `by`. `cost` in US dollars."""

    by: str
    rows: tuple[SpendRow, ...]
    cost: Decimal
    jobs: int
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One way to the provider. `slots`: images that it works on, of `max_in_flight` (0: no limit). `spent` in USD."""

    name: str
    slots: int = 0
    max_in_flight: int = 0
    ready: int = 0
    held: bool = False
    reason: str | None = None
    breaker: str | None = None
    spent: Decimal | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
