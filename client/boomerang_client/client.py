"""The client: one object for each service and key."""

from datetime import date

from boomerang_client.batches import Batches
from boomerang_client.connection import Connection, query
from boomerang_client.deliveries import Deliveries
from boomerang_client.parsing import read_overview, read_spend
from boomerang_client.responses import Lane, Overview, Spend


class Client(Batches, Deliveries):
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
        """Return the spending by "day", "key", "batch", "model" or "lane".

        `start` and `end` are the first and the last day (UTC). Without them the service uses the last 30 days. `key`,
        `batch`, `model` and `lane` restrict the report to one of each, by name.
        """
        days = {name: day.isoformat() for name, day in (("from", start), ("to", end)) if day is not None}
        params = query(by=by, key=key, batch=batch, model=model, lane=lane, **days)
        return read_spend(self._transport.get("/v1/spend", params))

    def lanes(self) -> list[Lane]:
        """Return the provider accounts: how busy each is, and whether and why it sends nothing."""
        return list(self.overview().lanes)

    def overview(self) -> Overview:
        """Return the provider accounts, and what keeps the service as a whole from its work."""
        return read_overview(self._transport.get("/v1/lanes"))
