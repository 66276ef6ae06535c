"""Notices to people: what there is to report, and which target was sent what."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.notices import (
    CALM,
    ENDS_ANNOUNCED,
    FORGOTTEN_AFTER,
    LEASE,
    MOST_BATCHES,
    SPACING,
    WAITS_FOR,
    Notice,
    NoticeClass,
)
from jobs.store.context import StoreContext
from jobs.units import duration_micros, from_micros, to_micros

#: Class → the list of batches, and seconds after which one of it is reported.
_PAUSES = {
    NoticeClass.BATCH_WAITS: ("awaiting", WAITS_FOR),
    NoticeClass.BATCH_FORGOTTEN: ("on_request", FORGOTTEN_AFTER),
}


class Notices:
    """The verbs of notices. All raise `StoreUnavailable`. A `target` is the name of an address, not the address."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    @translate_errors()
    def batch_ends(self, now: datetime) -> list[tuple[str, datetime]]:
        """Return the batches that have ended lately, and when. `now`: by Redis's clock."""
        since = to_micros(now - timedelta(seconds=ENDS_ANNOUNCED))
        key = self._keys.singleton("batch_ends")
        rows: Any = self._client.zrangebyscore(key, since, "+inf", withscores=True)
        return [(str(batch), from_micros(at)) for batch, at in rows]

    @translate_errors()
    def waiting_batches(self, about: NoticeClass, now: datetime) -> list[tuple[str, datetime]]:
        """Return the batches that need a notice of this class, BATCH_WAITS or BATCH_FORGOTTEN, and since when.

        `now`: by Redis's clock.
        """
        name, after = _PAUSES[about]
        latest = to_micros(now - timedelta(seconds=after))
        rows: Any = self._client.zrangebyscore(
            self._keys.singleton(name), "-inf", latest, 0, MOST_BATCHES, withscores=True
        )
        return [(str(batch), from_micros(at)) for batch, at in rows]

    def claim(self, target: str, notices: Collection[Notice]) -> list[Notice]:
        """Claim those of these notices that the target is to get now. What is not sent is due again after a lease."""
        if not notices:
            return []
        by_name = {each.name: each for each in notices}
        times = map(duration_micros, (LEASE, SPACING, CALM))
        rows = ((each.name, to_micros(each.since), duration_micros(each.remind)) for each in by_name.values())
        claimed = self._scripts.call("claim_notices", target, *times, *(each for row in rows for each in row))
        return [by_name[str(name)] for name in claimed]

    def record_sent(self, target: str, notices: Sequence[Notice]) -> None:
        """Record that a message with these notices was sent to the target."""
        self._scripts.call("notices_sent", target, *(each.name for each in notices))

    def record_failure(self, target: str) -> None:
        """Record that a message to the target failed: the next one waits as after any other."""
        self._scripts.call("notices_sent", target)
