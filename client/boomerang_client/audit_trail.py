# Written by `make client`, from asynchronous/audit_trail.py. Do not edit.
"""The client's call for the audit trail."""

from collections.abc import Generator
from datetime import datetime

from boomerang_client.arguments import query, to_iso
from boomerang_client.audit_records import AuditEntry, read_audit_entry
from boomerang_client.connection import Connection


class AuditTrail(Connection):
    """The call for the audit trail."""

    def audit_trail(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        operation: str | None = None,
        key: str | None = None,
        id: str | None = None,  # noqa: A002 -- the API's name
        limit: int | None = None,
    ) -> Generator[AuditEntry, None]:
        """Yield what was changed and by whom, newest first, at most `limit`.

        `since`: from then on. `until`: before then. `operation`: a part of its name. `key`: the id or name of the key.
        `id`: only what names this job, batch, bulk action, lane, key or request.
        """
        params = query(since=to_iso(since), until=to_iso(until), operation=operation, key=key, id=id)
        for view in self._list("/v1/audit-trail", "entries", params, limit):
            yield read_audit_entry(view)
