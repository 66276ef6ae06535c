"""The use case of a bulk action, for the HTTP API and for the page of jobs."""

import secrets
from collections.abc import Mapping
from typing import Any

from jobs.api_keys import Scope
from jobs.bulk import Bulk, BulkAction, id_from
from jobs.job import Priority
from jobs.job_filter import JobFilter
from jobs.task_names import SUBMIT
from webhook.access.audit_log import annotate, leave_out_of_trail
from webhook.access.auth import caller, lacks
from webhook.services import services

#: The scope that each action requires: that of the same action on one job. What may spend money requires `enqueue`.
SCOPES: Mapping[BulkAction, Scope] = {
    BulkAction.CANCEL: Scope.CANCEL,
    BulkAction.PAUSE: Scope.CANCEL,
    BulkAction.RESUME: Scope.ENQUEUE,
    BulkAction.RETRY: Scope.ENQUEUE,
    BulkAction.PRIORITY: Scope.ENQUEUE,
}


def require_scope(action: object) -> None:
    """Raise a problem, 403, if the caller may not begin this action, or, if there is no such action, any at all."""
    known = [scope for each, scope in SCOPES.items() if each == action] or list(SCOPES.values())
    if not any(caller().may(scope) for scope in known):
        raise lacks(known[0])


def begin_bulk(
    action: BulkAction,
    only: JobFilter,
    asked: Mapping[str, Any],
    *,
    priority: Priority | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Bulk:
    """Begin a bulk action of the caller, or its dry run. `asked`: the filter as it is shown.

    Raises a problem, 403, without the scope, and `NotAllowed`.
    """
    require_scope(action)
    shared, by = services(), caller()
    bulk_id = id_from(by.key, idempotency_key) if idempotency_key else secrets.token_hex(8)
    if dry_run:
        leave_out_of_trail()
    annotate(bulk=bulk_id, action=action, dry_run="yes" if dry_run else "no")
    hint = shared.store.bulks.begin(
        bulk_id, action, only, asked=asked, key=by.key, priority=priority, dry_run=dry_run, caller=by.owner
    )
    if hint:
        shared.send(SUBMIT)
    found = shared.store.bulks.get(bulk_id, caller=by.owner)
    annotate(affected=found.affected)
    return found


def abort_bulk(bulk_id: str) -> Bulk:
    """Abort a bulk action of the caller, who needs the scope to begin it. Raises `BulkNotFound`, or a problem, 403."""
    store, by = services().store, caller()
    found = store.bulks.get(bulk_id, caller=by.owner)
    require_scope(found.action)
    store.bulks.abort(bulk_id, caller=by.owner)
    aborted = store.bulks.get(bulk_id, caller=by.owner)
    annotate(affected=aborted.affected)
    return aborted
