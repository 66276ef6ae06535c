"""The client's calls for notifications at a `callback_url`: their log, sending them again, and their receivers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from boomerang_client.connection import Connection, Query, path_segment, query, to_iso, try_spellings
from boomerang_client.parsing import MALFORMED, read_list, read_time, unexpected

_PAGE = 500  # the service's maximum for ?limit=


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """One attempt to deliver a notification. `took` is in seconds. `error` is None if it was accepted."""

    id: str
    at: datetime | None
    address: str
    status: int | None
    took: float
    error: str | None
    next_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The delivery of a notification of a job, or of a batch (`job` is None).

    `state` is "pending", "failed" (tried again), "delivered" or "given_up".
    """

    event: str
    state: str
    changed_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...]
    job: str | None = None
    batch: str | None = None
    error: str | None = None
    owner: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A host that gets notifications: `state` is "healthy", "failing" or "disabled" (it gets none until enabled)."""

    name: str
    state: str
    accepted_at: datetime | None = None
    failing_since: datetime | None = None
    retry_at: datetime | None = None
    disabled_at: datetime | None = None
    error: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class Deliveries(Connection):
    """Calls for deliveries."""

    def deliveries(
        self,
        job: str | None = None,
        *,
        states: Sequence[str] = (),
        host: str | None = None,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> Iterator[Delivery]:
        """Yield deliveries, last changed first, or those of a `job`. At most `limit`. Raises NotFound.

        `states`: see `Delivery`. `host`: only those that went there. `since`: only those that changed since then.
        """
        if job is not None:
            get = self._transport.get
            answer = try_spellings(job, lambda segment: get(f"/v1/jobs/{segment}/deliveries"))
            return islice(map(_delivery, read_list(answer, "deliveries")), limit)
        return islice(map(_delivery, self._delivery_pages(_params(states, host, since, limit))), limit)

    def replay(
        self,
        job: str | None = None,
        *,
        states: Sequence[str] = (),
        host: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Send notifications again: of a `job`, or all that failed or were given up. Returns how many.

        `states`, `host` and `since` choose as in `deliveries`. With `host`, that receiver is enabled first. The
        notifications have the same ids as before. Raises NotFound; Conflict if the job notifies nobody.
        """
        post = self._transport.post
        if job is not None:
            answer = try_spellings(job, lambda segment: post(f"/v1/jobs/{segment}/deliveries/replay"))
            return _count(answer)
        params, count = _params(states, host, since, None), 0
        while True:
            answer = post("/v1/deliveries/replay", params=params)
            count += _count(answer)
            if answer.get("cursor") is None:
                return count
            params["cursor"] = str(answer["cursor"])

    def receivers(self) -> list[Receiver]:
        """Return the hosts that get notifications, the one with the last answer first."""
        return [_receiver(each) for each in read_list(self._transport.get("/v1/receivers"), "receivers")]

    def enable_receiver(self, name: str) -> Receiver:
        """Enable a receiver that was disabled, and close its circuit breaker. Raises NotFound."""
        answer = self._transport.post(f"/v1/receivers/{path_segment(name)}/enable")
        return _receiver(read_list(answer, "receivers")[0])

    def _delivery_pages(self, params: Query) -> Iterator[Any]:
        while True:
            page = self._transport.get("/v1/deliveries", params)
            yield from read_list(page, "deliveries")
            if page.get("cursor") is None:
                return
            params["cursor"] = str(page["cursor"])


def _params(states: Sequence[str], host: str | None, since: datetime | None, limit: int | None) -> Query:
    size = _PAGE if limit is None else min(_PAGE, max(limit, 1))
    return query(state=list(states), host=host, since=to_iso(since), limit=size)


def _count(answer: Any) -> int:
    try:
        return int(answer["replayed"])
    except MALFORMED as problem:
        raise unexpected("answer to a replay", problem) from problem


def _delivery(view: Any) -> Delivery:
    try:
        return Delivery(
            job=view.get("job"),
            batch=view.get("batch"),
            event=str(view["event"]),
            state=str(view["state"]),
            changed_at=read_time(view.get("changed_at")),
            attempts=tuple(map(_attempt, view.get("attempts") or ())),
            error=view.get("error"),
            owner=view.get("owner"),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("delivery", problem) from problem


def _attempt(view: Mapping[str, Any]) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=str(view["id"]),
        at=read_time(view.get("at")),
        address=str(view["address"]),
        status=view.get("status"),
        took=float(view.get("took") or 0),
        error=view.get("error"),
        next_at=read_time(view.get("next_at")),
    )


def _receiver(view: Any) -> Receiver:
    try:
        return Receiver(
            name=str(view["name"]),
            state=str(view["state"]),
            accepted_at=read_time(view.get("accepted_at")),
            failing_since=read_time(view.get("failing_since")),
            retry_at=read_time(view.get("retry_at")),
            disabled_at=read_time(view.get("disabled_at")),
            error=view.get("error"),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("receiver", problem) from problem
