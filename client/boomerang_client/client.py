# Written by `make client`, from asynchronous/client.py. Do not edit.
"""The client: one object for each service and key."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from boomerang_client.arguments import batch_options, query
from boomerang_client.audit_trail import AuditTrail
from boomerang_client.batches import Batches
from boomerang_client.bulk import Bulk
from boomerang_client.choices import OnError, Priority
from boomerang_client.connection import Connection
from boomerang_client.deliveries import Deliveries
from boomerang_client.execution import Lines, open_lines
from boomerang_client.image_folders import Folders
from boomerang_client.parsing.lanes import read_overview
from boomerang_client.parsing.spending import read_spend
from boomerang_client.quotes import Quote
from boomerang_client.responses import Lane, Overview, Spend
from boomerang_client.retrying import PatientCaller
from boomerang_client.uploading import Upload


class Client(AuditTrail, Batches, Bulk, Deliveries):
    __doc__ = Connection.__doc__

    def __enter__(self) -> "Client":  # noqa: PYI034 -- typing.Self came with 3.11
        return self

    def spend(
        self,
        by: str = "day",
        start: date | None = None,
        end: date | None = None,
        *,
        key: str | None = None,
        batch: str | None = None,
        model: str | None = None,
        lane: str | None = None,
    ) -> Spend:
        """Return the spending by "day", "key", "batch", "model" or "lane", or by the values of a label ("label:team").

        `start` and `end` are the first and the last day (UTC). Without them the service uses the last 30 days. `key`,
        `batch`, `model` and `lane` restrict the report to one of each, by name.
        """
        days = {name: day.isoformat() for name, day in (("from", start), ("to", end)) if day is not None}
        params = query(by=by, key=key, batch=batch, model=model, lane=lane, **days)
        return read_spend(self._transport.get("/v1/spend", params))

    def quote(
        self,
        lines: Lines,
        id: str | None = None,  # noqa: A002 -- the API's name
        *,
        labels: Mapping[str, str] | None = None,
        priority: Priority | None = None,
        weight: int | None = None,
        max_cost: Decimal | str | None = None,
        paused: bool = False,
        pilot: int | None = None,
        callback_url: str | None = None,
        on_error: OnError | None = None,
        folder: Folders | None = None,
    ) -> Quote:
        """Check requests, and return what `enqueue_batch` with the same arguments would do and cost.

        Nothing is enqueued. Local images are checked, and not uploaded.
        """
        options = batch_options(
            id, labels=labels, priority=priority, weight=weight, max_cost=max_cost, on_error=on_error, paused=paused,
            pilot=pilot, callback_url=callback_url,
        )  # fmt: skip
        caller = PatientCaller(0, self._clock, self._sleep, None)
        upload = Upload(
            self._transport, caller, self._images.future_reference, id or "", {**options, "images_later": "true"},
            folder=folder, clock=self._clock, progress=None,
        )  # fmt: skip
        with open_lines(lines) as numbered:
            return upload.quote(numbered)

    def lanes(self) -> list[Lane]:
        """Return the provider accounts: how busy each is, and whether and why it sends nothing."""
        return list((self.overview()).lanes)

    def overview(self) -> Overview:
        """Return the provider accounts, and what keeps the service as a whole from its work."""
        return read_overview(self._transport.get("/v1/lanes"))
