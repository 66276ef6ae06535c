"""Records for the deliveries of notifications, and how they are parsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from boomerang_client.parsing.values import MALFORMED, read_time, unexpected


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


def read_replayed(answer: Any) -> int:
    """Parse the number of notifications that are sent again. Raises UnexpectedAnswer."""
    try:
        return int(answer["replayed"])
    except MALFORMED as problem:
        raise unexpected("answer to a replay", problem) from problem


def read_delivery(view: Any) -> Delivery:
    """Parse a delivery. Raises UnexpectedAnswer."""
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


def read_receiver(view: Any) -> Receiver:
    """Parse a receiver. Raises UnexpectedAnswer."""
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
