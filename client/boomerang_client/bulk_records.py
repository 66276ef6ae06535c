"""The record of a bulk action, and how it is parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from boomerang_client.parsing.values import MALFORMED, read_time, unexpected


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkAction:
    """One change of all jobs that meet a filter. `status` is "running", "done" or "aborted".

    `affected`: jobs that it has changed, or with `dry_run` would change; `at_provider` of them may be at the provider.
    `skipped`: jobs that are left as they are, by reason. `expected_cost`: of the others, in US dollars; None: unknown.
    `progress` goes from 0 to 1.
    """

    id: str
    action: str
    status: str
    dry_run: bool
    affected: int
    at_provider: int
    skipped: Mapping[str, int]
    expected_cost: Decimal | None
    progress: float
    began_at: datetime | None
    finished_at: datetime | None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_bulk(view: Any) -> BulkAction:
    """Parse a bulk action. Raises UnexpectedAnswer."""
    try:
        cost = view["cost"]["expected"]
        return BulkAction(
            id=str(view["id"]),
            action=str(view["action"]),
            status=str(view["status"]),
            dry_run=bool(view["dry_run"]),
            affected=int(view["affected"]),
            at_provider=int(view["at_provider"]),
            skipped={str(why): int(count) for why, count in view["skipped"].items()},
            expected_cost=None if cost is None else Decimal(cost),
            progress=float(view["progress"]),
            began_at=read_time(view.get("began_at")),
            finished_at=read_time(view.get("finished_at")),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("bulk action", problem) from problem
