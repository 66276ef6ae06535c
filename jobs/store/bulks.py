"""Bulk actions in Redis: begin, read, abort and advance them step by step (jobs/lua/bulk)."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.bulk import Bulk, BulkAction, BulkState, Skipped
from jobs.decoding import decoding
from jobs.errors import BulkNotFound, NotAllowed
from jobs.estimates import Price, sum_up
from jobs.fields import printable
from jobs.job import CLASSES, Priority
from jobs.job_filter import JobFilter
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.settings import Settings
from jobs.store.context import StoreContext
from jobs.store.outcomes.bulks import AbortBulkOutcome, BeginBulkOutcome
from jobs.units import duration_micros, from_micros

#: Jobs that one step checks, and changes: a few milliseconds, during which Redis answers nothing else.
CHECKED, CHANGED = 500, 100
#: Bulk actions that a caller may have under way, and that are kept of one.
MOST_RUNNING, MOST_KEPT = 3, 50
#: Seconds for which the caller works on its own action, and for which a round of reconcile works on all of them. Most
#: of the time Redis is left to the jobs.
AT_ONCE, IN_A_ROUND = 0.3, 0.3


class Bulks:
    """The verbs for bulk actions. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts
        self._context = context

    def begin(
        self,
        bulk_id: str,
        action: BulkAction,
        only: JobFilter,
        *,
        asked: Mapping[str, object],
        key: str = "",
        priority: Priority | None = None,
        dry_run: bool = False,
        caller: str = ANYONE,
    ) -> bool:
        """Begin an action on the jobs that meet the filter now. Returns whether to send an admission hint.

        Small ones end before it returns; rounds of reconcile continue others. `asked`: the filter as the caller wrote
        it. A repeat with the same id advances the same action. Raises `NotAllowed`: too many are under way, or the
        id stands for another action.
        """
        facts: dict[str, Any] = {
            "action": action,
            "filter": action.meant(only).to_script_json(action.states),
            "asked": asked,
            "key": key,
        }
        if dry_run:
            facts["dry"] = True
        if priority is not None:
            facts["class"] = CLASSES[priority]
        text = json.dumps(facts, sort_keys=True, default=str)
        outcome = self._scripts.call("begin_bulk", bulk_id, caller, text, MOST_RUNNING, MOST_KEPT)
        if outcome == BeginBulkOutcome.BUSY:
            raise NotAllowed(
                f"{MOST_RUNNING} of your bulk actions are under way. Send this again when one is over, or abort one."
            )
        if outcome == BeginBulkOutcome.CONFLICT:
            raise NotAllowed("This Idempotency-Key stands for another bulk action. Use a new one.")
        return self.advance(AT_ONCE, bulk_id=bulk_id)

    def get(self, bulk_id: str, *, caller: str = ANYONE) -> Bulk:
        """Read a bulk action of the caller. Raises `BulkNotFound`."""
        for row in self._scripts.call("show_bulks", caller, bulk_id, 1):
            return _read(row, self._context.settings)
        raise BulkNotFound(bulk_id)

    def last(self, *, caller: str = ANYONE, limit: int = 20) -> list[Bulk]:
        """Read the last bulk actions of the caller, newest first; for `ANYONE`, of all producers."""
        settings = self._context.settings
        return [_read(row, settings) for row in self._scripts.call("show_bulks", caller, "", limit)]

    def abort(self, bulk_id: str, *, caller: str = ANYONE) -> bool:
        """Abort a bulk action of the caller. Returns whether it was under way. Raises `BulkNotFound`."""
        outcome = AbortBulkOutcome(self._scripts.call("abort_bulk", bulk_id, caller))
        if outcome is AbortBulkOutcome.UNKNOWN:
            raise BulkNotFound(bulk_id)
        return outcome is AbortBulkOutcome.ABORTED

    def advance(
        self, seconds: float = IN_A_ROUND, *, bulk_id: str = "", clock: Callable[[], float] = time.monotonic
    ) -> bool:
        """Advance one action, or all in turn, for about `seconds`. Returns whether to send an admission hint."""
        end, hint_due, more = clock() + seconds, False, True
        while more and clock() < end:
            more, hint = self._scripts.call("bulk", bulk_id, CHECKED, CHANGED, duration_micros(RECHECK))
            hint_due = hint_due or bool(hint)
        return hint_due


def _read(row: Sequence[Any], settings: Settings) -> Bulk:
    """Read the script's answer. Raises `RecordDamaged`."""
    bulk_id, learned, *flat = row
    with decoding(f"bulk action {printable(bulk_id)}"):
        fields: dict[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))
        asked, prices = json.loads(fields["asked"]), json.loads(learned)
        jobs = [
            (Price.of(prices[name], settings.list_prices.of(name.rpartition("|")[0])), int(fields[f"c:{name}"]))
            for name in prices
        ]
        skipped = {each: int(fields.get(_COUNTERS[each], 0)) for each in Skipped}
        return Bulk(
            id=bulk_id,
            action=BulkAction(fields["action"]),
            state=BulkState(fields["state"]),
            dry_run="dry" in fields,
            owner=fields["owner"],
            key=str(asked["key"]),
            began_at=from_micros(fields["began"]),
            ended_at=from_micros(fields["ended"]) if "ended" in fields else None,
            size=int(fields["size"]),
            checked=int(fields["checked"]),
            affected=int(fields.get("affected", 0)),
            at_provider=int(fields.get("at_provider", 0)),
            skipped={each: count for each, count in skipped.items() if count},
            estimate=sum_up(jobs),
            asked=asked["asked"],
        )


#: Why a job was left as it is → the field that counts such jobs.
_COUNTERS = {each: each.value if each is Skipped.CHANGED else f"w:{each}" for each in Skipped}
