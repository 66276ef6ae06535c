"""What commands write about changes: lines in the format of the webhook's audit log, and entries of the audit trail."""

import getpass
import os
from collections.abc import Collection
from typing import Any

from jobs.audit_trail import Action, Via, bounded
from jobs.owners import ANYONE
from jobs.store.store import Store
from webhook.access.audit_log import note, write

#: Jobs of a command that get an entry each. Of more, one entry has the number.
MOST_NAMED = 100


def audited(store: Store, operation: str, **details: Any) -> None:
    """Write a line to standard error, and an entry of the audit trail. `uid`: the user of this process."""
    write(operation=operation, **details, uid=os.getuid())
    record(store, operation, **details)


def record(store: Store, operation: str, *, by: str = "", **details: Any) -> None:
    """Write an entry of the audit trail. `by`: who decided, the user of this process by default."""
    known = {name: value for name, value in details.items() if value not in ("", None)}
    action = Action(owner=ANYONE, by=by or _user(), operation=operation, via=Via.COMMAND, details=bounded(known))
    note(store.audit_trail.record, action)


def record_jobs(store: Store, operation: str, jobs: Collection[str], *, by: str = "", **details: Any) -> None:
    """Write an entry for each of these jobs, or for many of them one with their number."""
    if len(jobs) > MOST_NAMED:
        record(store, operation, by=by, **details, affected=len(jobs))
        return
    for job_id in jobs:
        record(store, operation, by=by, job_id=job_id, **details)


def _user() -> str:
    """Return the name of the user of this process, or its number where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
