"""The client: one object per service and key."""

from datetime import date

from boomerang_client.batches import Batches
from boomerang_client.connection import Connection, present
from boomerang_client.parsing import read_lane, read_list, read_spend
from boomerang_client.responses import Lane, Spend


class Client(Batches):
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
        """What was spent, by "day", "key", "batch", "model" or "lane", from the day `start` to `end` (UTC).

        `key`, `batch`, `model`, `lane`: only of these, by name. Left out, the service takes the last 30 days.
        """
        days = {name: day.isoformat() for name, day in (("from", start), ("to", end)) if day is not None}
        params = present(by=by, key=key, batch=batch, model=model, lane=lane, **days)
        return read_spend(self._transport.get("/v1/spend", params))

    def lanes(self) -> list[Lane]:
        """The ways to the provider: what each holds, and whether and why nothing is being sent."""
        return [read_lane(view) for view in read_list(self._transport.get("/v1/lanes"), "lanes")]
