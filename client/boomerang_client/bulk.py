# Written by `make client`, from asynchronous/bulk.py. Do not edit.
"""The client's calls for bulk actions: one change of all jobs that meet a filter."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from boomerang_client.arguments import path_segment
from boomerang_client.bulk_records import BulkAction, read_bulk
from boomerang_client.connection import Connection
from boomerang_client.parsing.values import read_list


class Bulk(Connection):
    """Calls for bulk actions."""

    def begin_bulk(
        self,
        action: str,
        filter: Mapping[str, Any],  # noqa: A002 -- the API's name
        *,
        priority: str | None = None,
        dry_run: bool = False,
        key: str | None = None,
    ) -> BulkAction:
        """Cancel, retry, pause or resume all jobs that meet a filter, or change their `priority`.

        `action` is "cancel", "retry", "pause", "resume" or "priority". `filter` has the parameters of `GET /v1/jobs`,
        such as `{"batch": "spring", "class": ["moderation"]}`; {} means all of your jobs. With `dry_run`, they are only
        counted. Many jobs take a while: follow the action with `bulk`. `key`: an Idempotency-Key, under which a later
        call begins nothing new; by default each call has its own. Raises Invalid; Conflict if too many are under way.
        """
        request: dict[str, Any] = {"action": action, "filter": dict(filter), "dry_run": dry_run}
        if priority is not None:
            request["priority"] = priority
        return read_bulk(self._transport.post("/v1/bulk", request, key=key or uuid4().hex))

    def bulk(self, id: str) -> BulkAction:  # noqa: A002 -- the API's name
        """Return a bulk action. Raises NotFound."""
        return read_bulk(self._transport.get(f"/v1/bulk/{path_segment(id)}"))

    def bulk_actions(self) -> list[BulkAction]:
        """Return the last bulk actions, newest first."""
        return [read_bulk(each) for each in read_list(self._transport.get("/v1/bulk"), "bulk")]

    def abort_bulk(self, id: str) -> BulkAction:  # noqa: A002 -- the API's name
        """Abort a bulk action. What it has changed stays. Raises NotFound."""
        return read_bulk(self._transport.post(f"/v1/bulk/{path_segment(id)}/abort"))
