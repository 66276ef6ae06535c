"""Records of the audit trail, and how they are parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from boomerang_client.parsing.values import MALFORMED, read_time, unexpected


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A change that was requested, and its result.

    `key`: the id of the key, None for a command of the operator. `by`: its name, or the command's user. `via`: "api",
    "page" or "command". `status`: of the HTTP answer. `affected`: how many jobs or deliveries it changed. `details`:
    what else it named. `request`: the answer's X-Request-Id. `at` is None where the entry is damaged.
    """

    id: str
    at: datetime | None
    operation: str
    key: str | None = None
    by: str | None = None
    via: str | None = None
    status: int | None = None
    outcome: str | None = None
    affected: int | None = None
    job: str | None = None
    batch: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    request: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def read_audit_entry(view: Any) -> AuditEntry:
    """Parse an entry. Raises UnexpectedAnswer."""
    try:
        return AuditEntry(
            id=str(view["id"]),
            at=read_time(view.get("at")),
            operation=str(view["operation"]),
            details={str(name): str(value) for name, value in (view.get("details") or {}).items()},
            raw=view,
            **{
                name: view.get(name)
                for name in ("key", "by", "via", "status", "outcome", "affected", "job", "batch", "request")
            },
        )
    except MALFORMED as problem:
        raise unexpected("entry of the audit trail", problem) from problem
