"""The log of notifications: the attempts of each, its state, and how a producer's receivers are doing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

#: Attempts that are kept of one notification, and delivered notifications that are listed of one producer. The log of a
#: job is deleted with the job (BOOMERANG_RETENTION).
ATTEMPTS_KEPT, DELIVERED_KEPT = 20, 10_000
#: Before the batch and the kind in the id of an event. No id of a job has it.
EVENT_MARK = "!"
#: Events that are kept of one batch.
EVENTS_KEPT = 100
#: Characters of an address in the log.
_LONGEST_ADDRESS = 300


class NotificationState(StrEnum):
    """Where a notification stands. `LETTERS` has the letters in the record."""

    PENDING = "pending"  #: not tried yet
    FAILED = "failed"  #: the last attempt failed, and another one follows
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


LETTERS = {
    NotificationState.PENDING: "p",
    NotificationState.FAILED: "f",
    NotificationState.DELIVERED: "d",
    NotificationState.GIVEN_UP: "g",
}
STATES = {letter: state for state, letter in LETTERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt to notify a producer.

    `address`: without userinfo and the values of its query. `status`: of the answer, None without one. `took`: seconds.
    `error`: why it was not accepted, '' if it was. `next_at`: when the next one follows, as planned then.
    """

    id: str  #: the notification's `webhook-id`
    at: datetime
    address: str
    status: int | None
    took: float
    error: str = ""
    next_at: datetime | None = None

    def to_json(self) -> str:
        """Serialize it for Redis."""
        next_at = None if self.next_at is None else self.next_at.isoformat()
        body: dict[str, Any] = {"id": self.id, "at": self.at.isoformat(), "to": self.address, "status": self.status}
        body |= {"took": round(self.took, 3), "error": self.error, "next": next_at}
        return json.dumps({name: value for name, value in body.items() if value not in (None, "")}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Attempt":
        """Deserialize it."""
        body: Mapping[str, Any] = json.loads(text)
        return cls(
            id=body["id"],
            at=datetime.fromisoformat(body["at"]),
            address=body["to"],
            status=body.get("status"),
            took=body["took"],
            error=body.get("error", ""),
            next_at=datetime.fromisoformat(body["next"]) if "next" in body else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A notification of an ended job, or of an event of a batch, with the attempts that are kept, oldest first.

    `id`: of the job or event. `job`, `batch`: as the producer named them. `error`: why it waits or was given up.
    """

    id: str
    job: str | None
    batch: str | None
    owner: str
    event: str
    state: NotificationState
    changed_at: datetime
    attempts: tuple[Attempt, ...]
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPage:
    """Notifications, and the cursor of the next page (None: this is the last)."""

    notifications: tuple[Notification, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverHealth:
    """How a producer's receiver is doing. The times are None where that never happened, or not for long."""

    owner: str
    name: str
    accepted_at: datetime | None
    failing_since: datetime | None
    failed_at: datetime | None
    error: str
    failures: int
    open_until: datetime | None
    disabled_at: datetime | None


class ReplayOutcome(StrEnum):
    """Of `replay`, for each job."""

    OWED = "owed"  #: it is sent again
    UNDER_WAY = "under way"  #: a worker sends it now
    NOTHING = "nothing"  #: the job has not ended, or notifies nobody
    UNKNOWN = "unknown"


class EnableOutcome(StrEnum):
    """Of `enable_receiver`."""

    ENABLED = "enabled"
    UNKNOWN = "unknown"


def address_without_secrets(url: str) -> str:
    """Return a URL without userinfo, the values of its query, and its fragment."""
    parts = urlsplit(url)
    query = "&".join(map(_without_value, parts.query.split("&"))) if parts.query else ""
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{'?' if query else ''}{query}"
    return address if len(address) <= _LONGEST_ADDRESS else address[:_LONGEST_ADDRESS] + "…"


def _without_value(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}=…" if equals else "…"  # a text without a name may be a secret


def constants() -> str:
    """Return the limits as Lua constants."""
    return (
        f"local ATTEMPTS_KEPT={ATTEMPTS_KEPT}\nlocal DELIVERED_KEPT={DELIVERED_KEPT}\nlocal EVENTS_KEPT={EVENTS_KEPT}\n"
    )
