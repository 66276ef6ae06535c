"""Events of batches, of which a producer is notified at the batch's callback_url."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.delivery_log import EVENT_MARK, Attempt
from jobs.errors import RecordDamaged
from jobs.fields import printable
from jobs.producer_ids import given_id
from jobs.receivers import Turn, read_turn
from jobs.store.arguments import flag
from jobs.store.attempts import DUE_LEASE
from jobs.store.context import StoreContext
from jobs.store.deliveries import LONGEST_WHY, recorded
from jobs.store.outcomes.deliveries import DeliveryOutcome
from jobs.units import duration_micros, from_micros

log = logging.getLogger(__name__)

#: Jobs that an event names as unsaved; their number is in the batch.
MOST_UNSAVED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent:
    """A claimed event of a batch. `kind`: "finished", "saved" or "paused"; `why` it was paused.

    `now`: the time of the claim.
    """

    id: str
    batch: str
    kind: str
    why: str
    url: str
    at: datetime
    fence: int
    tries: int
    error: str
    now: datetime

    @property
    def message_id(self) -> str:
        """The `webhook-id`, the same for each repeat: `<batch>.<kind>.<number>`."""
        return f"{given_id(self.batch)}.{self.id.rpartition(EVENT_MARK)[2]}"


class BatchEvents:
    """The verbs of events. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    def find_due(self, most: int) -> list[str]:
        """Return the ids of events that are due, at most so many. Each is due again after a lease."""
        return list(map(str, self._scripts.call("due_events", most, duration_micros(DUE_LEASE))))

    def claim(self, ids: Sequence[str]) -> list[BatchEvent]:
        """Claim those events that are owed. A damaged one is left out, with a log line."""
        if not ids:
            return []
        claimed = []
        for row in self._scripts.call("claim_events", duration_micros(DUE_LEASE), *ids):
            try:
                claimed.append(_event(json.loads(row)))
            except RecordDamaged as error:
                log.warning("left out: %s", error)
        return claimed

    @translate_errors()
    def unsaved(self, batch_id: str) -> list[str]:
        """Return the jobs of a batch whose results were given up, oldest first, at most MOST_UNSAVED."""
        ids: Any = self._client.zrange(self._keys.member("batch_unsaved", batch_id), 0, MOST_UNSAVED - 1)
        return list(map(str, ids))

    def begin(self, event: BatchEvent, receiver: str, limit: int, *, last_chance: bool = False) -> Turn:
        """Ask for one of `limit` places, as `Deliveries.begin_notification` does."""
        arguments = event.id, event.fence, receiver, limit, flag(last_chance)
        return read_turn(receiver, self._scripts.call("begin_notification", *arguments))

    def postpone(self, event: BatchEvent, seconds: float, why: str) -> DeliveryOutcome:
        """Record that the notification was not attempted, and is in so many seconds."""
        place = event.id, event.fence, duration_micros(seconds), event.tries, why[:LONGEST_WHY], ""
        return DeliveryOutcome(self._scripts.call("event_delivered", *place))

    def give_up(self, event: BatchEvent, why: str) -> DeliveryOutcome:
        """Stop retrying a notification until its producer replays it."""
        place = event.id, event.fence, "never", event.tries, why[:LONGEST_WHY], ""
        return DeliveryOutcome(self._scripts.call("event_delivered", *place))

    def end(
        self,
        event: BatchEvent,
        turn: Turn,
        attempt: Attempt,
        *,
        limit: int,
        random: float,
        retry_in: float | None,
        begin: int,
        disable_after: float,
    ) -> list[str]:
        """Record an attempt, as `Deliveries.end_notification` does. Returns the ids of those that have a place now."""
        why = attempt.error[:LONGEST_WHY]
        wait = "" if not why else "never" if retry_in is None else duration_micros(retry_in)
        record = ("event_delivered", event.id, event.fence, wait, event.tries + 1, why, attempt.to_json())
        place = event.id, turn.owner, turn.receiver, flag(not why), random, limit, begin
        end = ("end_notification", *place, event.fence, why, duration_micros(disable_after))
        return recorded(self._scripts.call_each([record, end]))


def _event(row: dict[str, str]) -> BatchEvent:
    with decoding(f"event {printable(row['id'])}"):
        return BatchEvent(
            id=row["id"],
            batch=row["batch"],
            kind=row["kind"],
            why=row["why"],
            url=row["url"],
            at=from_micros(row["at"]),
            fence=int(row["fence"]),
            tries=int(row["tries"]),
            error=row["error"],
            now=from_micros(row["now"]),
        )
