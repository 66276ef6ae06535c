"""The client: one object for each service and key."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from boomerang_client.arguments import batch_options, query
from boomerang_client.asynchronous.audit_trail import AuditTrail
from boomerang_client.asynchronous.batches import Batches
from boomerang_client.asynchronous.bulk import Bulk
from boomerang_client.asynchronous.connection import Connection
from boomerang_client.asynchronous.deliveries import Deliveries
from boomerang_client.asynchronous.execution import AsyncLines, open_lines
from boomerang_client.asynchronous.retrying import PatientCaller
from boomerang_client.asynchronous.uploading import Upload
from boomerang_client.choices import OnError, Priority
from boomerang_client.image_folders import Folders
from boomerang_client.parsing.lanes import read_overview
from boomerang_client.parsing.spending import read_spend
from boomerang_client.quotes import Quote
from boomerang_client.responses import Lane, Overview, Spend


class AsyncClient(AuditTrail, Batches, Bulk, Deliveries):
    __doc__ = Connection.__doc__

    async def __aenter__(self) -> "AsyncClient":  # noqa: PYI034 -- typing.Self came with 3.11
        return self

    async def spend(
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
        return read_spend(await self._transport.get("/v1/spend", params))

    async def quote(
        self,
        lines: AsyncLines,
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
        async with open_lines(lines) as numbered:
            return await upload.quote(numbered)

    async def lanes(self) -> list[Lane]:
        """Return the provider accounts: how busy each is, and whether and why it sends nothing."""
        return list((await self.overview()).lanes)

    async def overview(self) -> Overview:
        """Return the provider accounts, and what keeps the service as a whole from its work."""
        return read_overview(await self._transport.get("/v1/lanes"))
