"""The client's calls for notifications at a `callback_url`: their log, sending them again, and their receivers."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

from boomerang_client.arguments import Query, path_segment, query, to_iso
from boomerang_client.asynchronous.connection import PAGE, Connection, try_spellings
from boomerang_client.choices import DeliveryState
from boomerang_client.delivery_records import Delivery, Receiver, read_delivery, read_receiver, read_replayed
from boomerang_client.parsing.values import read_list


class Deliveries(Connection):
    """Calls for deliveries."""

    async def deliveries(
        self,
        job: str | None = None,
        *,
        states: Sequence[DeliveryState] = (),
        host: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Delivery, None]:
        """Yield deliveries, last changed first, or those of a `job`. At most `limit`. Raises NotFound.

        `states`: see `Delivery`. `host`: only those that went there. `since`: only those that changed since then.
        """
        if job is not None:
            get = self._transport.get
            answer = await try_spellings(job, lambda segment: get(f"/v1/jobs/{segment}/deliveries"))
            for view in read_list(answer, "deliveries")[:limit]:
                yield read_delivery(view)
            return
        async for view in self._list("/v1/deliveries", "deliveries", _params(states, host, since), limit):
            yield read_delivery(view)

    async def replay(
        self,
        job: str | None = None,
        *,
        states: Sequence[DeliveryState] = (),
        host: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Send notifications again: of a `job`, or all that failed or were given up. Returns how many.

        `states`, `host` and `since` choose as in `deliveries`. With `host`, that receiver is enabled first. The
        notifications have the same ids as before. Raises NotFound; Conflict if the job notifies nobody.
        """
        post = self._transport.post
        if job is not None:
            answer = await try_spellings(job, lambda segment: post(f"/v1/jobs/{segment}/deliveries/replay"))
            return read_replayed(answer)
        params, count = _params(states, host, since) | {"limit": PAGE}, 0
        while True:
            answer = await post("/v1/deliveries/replay", params=params)
            count += read_replayed(answer)
            if answer.get("cursor") is None:
                return count
            params["cursor"] = str(answer["cursor"])

    async def receivers(self) -> list[Receiver]:
        """Return the hosts that get notifications, the one with the last answer first."""
        return [read_receiver(each) for each in read_list(await self._transport.get("/v1/receivers"), "receivers")]

    async def enable_receiver(self, name: str) -> Receiver:
        """Enable a receiver that was disabled, and close its circuit breaker. Raises NotFound."""
        answer = await self._transport.post(f"/v1/receivers/{path_segment(name)}/enable")
        return read_receiver(read_list(answer, "receivers")[0])


def _params(states: Sequence[DeliveryState], host: str | None, since: datetime | None) -> Query:
    return query(state=list(states), host=host, since=to_iso(since))
