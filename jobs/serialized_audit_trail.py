"""Serializer of the audit trail, as `schemas.views.audit_trail` documents it."""

from collections.abc import Callable
from typing import Any

from jobs.audit_trail import BATCH, JOB, OTHER_JOBS, AuditEntry

#: Details that have members of their own.
_COUNTS = ("affected", "replayed", "accepted")
_OUTCOME, _DONE = "outcome", "done"


def serialize_audit_entry(entry: AuditEntry, name_of: Callable[[str], str]) -> dict[str, Any]:
    """Return an entry as JSON data. `name_of`: how the reader calls a job or batch, given the service's id."""
    action = entry.action
    details = {
        name: name_of(value) if name in OTHER_JOBS else value
        for name, value in (action.details if action else {}).items()
    }
    job, batch = details.pop(JOB, None), details.pop(BATCH, None)
    outcome = details.pop(_OUTCOME, None) or ("not done" if details.pop(_DONE, None) == "no" else None)
    counts = [details.pop(name, None) for name in _COUNTS]
    return {
        "id": entry.id,
        "at": entry.at.isoformat() if entry.at else None,
        "key": (action and action.key) or None,
        "by": (action and action.by) or None,
        "operation": entry.operation,
        "via": action.via.value if action else None,
        "status": action.status if action else None,
        "outcome": outcome,
        "affected": next((int(each) for each in counts if each and each.isascii() and each.isdecimal()), None),
        "job": job and name_of(job),
        "batch": batch and name_of(batch),
        "details": details,
        "request": (action and action.request) or None,
    }
