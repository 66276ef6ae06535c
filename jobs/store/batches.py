"""Batches: read and list them, and change all jobs of one (pause, resume, cancel, retry)."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any

from jobs.batch_action import BatchActionResult
from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.errors import BatchNotFound, NotAllowed, RecordDamaged
from jobs.failures import FailureClass, classify
from jobs.fields import printable
from jobs.job import Job
from jobs.new_job import BatchOptions
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.producer_ids import internal_id
from jobs.read_models import Batch, BatchPage, Progress
from jobs.states import FINAL, State
from jobs.store.arguments import flag
from jobs.store.batch_counters import read_batch
from jobs.store.batch_members import BatchMembers
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.store.outcomes.batches import ApproveOutcome, BatchPauseOutcome, BeginPilotOutcome, SweepOutcome
from jobs.store.pages import SCAN, Entries, Filter, index_entries, scan
from jobs.store.wait_reasons import with_reasons
from jobs.units import duration_micros, nano

log = logging.getLogger(__name__)

#: Jobs in one step of a sweep: a few milliseconds, during which Redis answers nothing else.
STEP = 500
#: Seconds within which the same new cap again is a repeat: the client's time-out of 65 s, its wait, and some more.
CAP_REPEAT = 120.0
#: Seconds for which the caller works on its sweep, and for which a round of reconcile continues sweeps.
AT_ONCE = 0.5


class Batches:
    """The verbs for batches. All raise `StoreUnavailable`, and `BatchNotFound` unless they return None for that."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._context = context
        self._jobs = jobs
        self.members = BatchMembers(context, jobs)

    # --- read -------------------------------------------------------------------------------------------------------

    def get(self, batch_id: str) -> Batch:
        """Read a batch's counters, with what it waits for as its reason."""
        try:
            batch = read_batch(batch_id, self._scripts.call("batch", batch_id), self._context.settings)
            return with_reasons(self._scripts, self._context.settings, [batch])[0]
        except RecordDamaged as error:
            raise RecordDamaged(f"batch {printable(batch_id)}", error.why) from error

    def options(self, batch_id: str) -> BatchOptions | None:
        """Read the options that the batch was created with; None where there is no such batch."""
        with translate_errors():
            created, asked = self._client.hmget(self._keys.member("batch", batch_id), ["created", "asked"])
        with decoding(f"batch {printable(batch_id)}"):
            return BatchOptions.from_script_json(str(asked or "{}")) if created else None

    def owner(self, batch_id: str) -> str | None:
        """Read the name of the API key that the batch came with ('': none); None where there is no such batch."""
        options = self.options(batch_id)
        return None if options is None else options.owner

    def find(self, given: str, owner: str) -> str | None:
        """Return the id of a producer's batch by the id that the producer gave; None if there is none."""
        ids = dict.fromkeys((internal_id(given, owner), given))  # version 1 recorded it under the given id
        return next((each for each in ids if self.owner(each) == owner), None)

    def jobs(
        self,
        batch_id: str,
        states: Sequence[State] = (),
        classes: Sequence[FailureClass] = (),
    ) -> Iterator[Job]:
        """Yield every job of a batch, or those of `states` and `classes`, as `members.parts` does."""
        self.get(batch_id)
        return chain.from_iterable(self.members.parts(batch_id, states, classes))

    def page(
        self,
        progress: Progress | None = None,
        *,
        only: Filter | None = None,
        cursor: str | None = None,
        limit: int = 100,
        most_checked: int = SCAN,
    ) -> BatchPage:
        """List batches, newest first. `cursor` comes from the previous page. `most_checked` is as in `scan`."""
        only = only or Filter()
        keys = [self._keys.member("grouped", each) for each in only.named]
        entries, *keeps = index_entries(self._client, keys or [self._keys.singleton("batches")])
        if only.owner is not None and not keys:
            entries = self._entries_of(only.owner, entries)
        keeps += [partial(self._in_progress, progress)] if progress else []
        keeps += [partial(self._owned, only.owner)] if only.owner is not None else []
        ids, further = scan(entries, only.bounds(cursor), keeps, limit, most_checked)
        return BatchPage(self._get_many(ids), further)

    def _entries_of(self, owner: str, of_all: Entries) -> Entries:
        """Return the entries of an owner's index, then those of all from the time before there was one."""
        index, totals = self._keys.member("batches_of", owner), self._keys.singleton("totals")
        with translate_errors(), decoding("the totals"):
            indexed_from = int(self._client.hget(totals, "indexed_from") or 0)

        def entries(before: str, since: str, most: int) -> dict[str, str]:
            end = before if before == "+inf" else f"({before}"
            rows: Any = self._client.zrevrangebyscore(index, end, since, 0, most, withscores=True)
            found = {str(batch): f"{score:.0f}" for batch, score in rows}
            if len(found) < most:
                older = str(indexed_from) if before == "+inf" else str(min(indexed_from, int(before)))
                found |= of_all(older if indexed_from else before, since, most - len(found))
            return found

        return entries

    def _owned(self, owner: str, ids: Sequence[str]) -> list[str]:
        with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hget(self._keys.member("batch", batch_id), "key")
            names = pipe.execute(raise_on_error=False)
        return [batch_id for batch_id, name in zip(ids, names, strict=True) if name == owner]

    def _in_progress(self, progress: Progress, ids: Sequence[str]) -> list[str]:
        with self._client.pipeline(transaction=False) as pipe:
            for batch_id in ids:
                pipe.hmget(self._keys.member("batch", batch_id), ["accepted", "paused", "do", *FINAL])
            rows = pipe.execute(raise_on_error=False)
        return [batch_id for batch_id, row in zip(ids, rows, strict=True) if _progress(batch_id, row) is progress]

    def _get_many(self, ids: Sequence[str]) -> tuple[Batch, ...]:
        found = []
        rows = self._scripts.call_each([("batch", each) for each in ids]) if ids else ()
        for batch_id, row in zip(ids, rows, strict=True):
            try:
                if isinstance(row, RecordDamaged):
                    raise row
                found.append(read_batch(batch_id, row, self._context.settings))
            except BatchNotFound:
                continue  # deleted since its id was read
            except RecordDamaged as error:
                log.warning("left out: batch %s: %s", printable(batch_id), error)
        return tuple(with_reasons(self._scripts, self._context.settings, found))

    # --- change -----------------------------------------------------------------------------------------------------

    def pause(self, batch_id: str, *, caller: str = ANYONE) -> BatchActionResult:
        """Stop submitting a batch; tasks at the provider continue. `affected`: jobs that wait from now on."""
        return self._pause(batch_id, "pause", caller)

    def resume(self, batch_id: str, *, max_cost: Decimal | None = None, caller: str = ANYONE) -> BatchActionResult:
        """Continue after a pause, each job at its old place. `affected`: jobs that waited for it.

        `max_cost`: the batch's new cap (USD). A batch at its cap pauses again unless the cap is raised. Costs unknown
        until now no longer stop it, except in a repeat: the same cap again within CAP_REPEAT. A batch that waits for an
        approval goes on waiting; raises `NotAllowed` for one unless there is a cap to set.
        """
        return self._pause(batch_id, "resume", caller, max_cost)

    def approve(self, batch_id: str, *, caller: str = ANYONE) -> BatchActionResult:
        """Approve a batch that waits for it. `affected`: jobs that waited; 0 where it waits for no approval."""
        outcome, waiting, hint = self._scripts.call("approve", batch_id, caller)
        if outcome == ApproveOutcome.UNKNOWN:
            raise BatchNotFound(batch_id)
        return BatchActionResult("approve", int(waiting), admit_hint=bool(hint))

    def begin_pilot(self, batch_id: str, ids: Sequence[str]) -> BatchActionResult:
        """Run these jobs of a batch before it is approved, a few hundred at most. A repeat changes nothing.

        `affected`: jobs of the pilot. Those that do not wait in the batch are left out.
        """
        outcome, count, hint = self._scripts.call("begin_pilot", batch_id, *ids)
        if outcome == BeginPilotOutcome.UNKNOWN:
            raise BatchNotFound(batch_id)
        return BatchActionResult("pilot", int(count), admit_hint=bool(hint))

    def lower_cap(self, batch_id: str, max_cost: Decimal, *, caller: str = ANYONE) -> BatchActionResult | None:
        """Lower a batch's cap (USD). None, and nothing changed, if it is paused or the cap is not lower.

        A repeat changes nothing. Unlike a resume, it lets no job go on that waits because of unknown costs.
        """
        outcome, _, hint = self._call_pause(batch_id, "lower", nano(max_cost), caller)
        if outcome == BatchPauseOutcome.REFUSED:
            return None
        return BatchActionResult("resume", 0, admit_hint=bool(hint))

    def cancel(self, batch_id: str, *, caller: str = ANYONE, by: str = "") -> BatchActionResult:
        """Cancel all unfinished jobs. None is submitted from now on, and `sweep` cancels those still pending.

        `by`: the id of the key, for their timelines. Raises `NotAllowed` while staged lines are being enqueued.
        """
        outcome, _ = self._scripts.call("begin_sweep", batch_id, "cancel", "", "0", caller, by)
        if outcome == SweepOutcome.UNKNOWN:
            raise BatchNotFound(batch_id)
        if outcome == SweepOutcome.BUSY:
            raise NotAllowed("Lines of this batch are still being taken in; send this again in a moment.")
        return self._begin_sweep(batch_id, "cancel")

    def retry(
        self,
        batch_id: str,
        states: Sequence[State] = (),
        codes: Sequence[str] = (),
        *,
        classes: Sequence[FailureClass] = (),
        dry_run: bool = False,
        caller: str = ANYONE,
        by: str = "",
    ) -> BatchActionResult:
        """Queue failed jobs again, or those in other final `states` except completed.

        `codes` and `classes` limit failed jobs: those with one of the codes and of one of the classes.

        Jobs that the provider may still work on are left out. `dry_run` only counts, and counts them, too. `by`: the id
        of the key, for their timelines.
        Raises `NotAllowed` during another retry or a cancel of the batch.
        """
        which: dict[str, dict[str, bool]] = {"states": dict.fromkeys(states or (State.FAILED,), True)}
        if classes:
            failed = self.get(batch_id).errors
            codes = [code for code in failed if classify(code) in classes and (not codes or code in codes)]
            which["codes"] = {}
        if codes:
            which["codes"] = dict.fromkeys(codes, True)
        outcome, count = self._scripts.call(
            "begin_sweep", batch_id, "retry", json.dumps(which), flag(dry_run), caller, by
        )
        if outcome == SweepOutcome.UNKNOWN:
            raise BatchNotFound(batch_id)
        if outcome == SweepOutcome.COUNTED:
            return BatchActionResult("retry", int(count))
        if outcome == SweepOutcome.BUSY:
            raise NotAllowed("This batch is still being cancelled, retried or taken in; send this again in a moment.")
        return self._begin_sweep(batch_id, "retry")

    def sweep(self, seconds: float = AT_ONCE, clock: Callable[[], float] = time.monotonic) -> bool:
        """Continue sweeps of all batches, for about so long. Returns whether to send an admission hint."""
        end, hint_due, more = clock() + seconds, False, 1
        while more and clock() < end:
            more, _, _, hint = self._scripts.call("sweep", "", STEP, duration_micros(RECHECK))
            hint_due = hint_due or bool(hint)
        return hint_due

    def _pause(self, batch_id: str, action: str, caller: str, max_cost: Decimal | None = None) -> BatchActionResult:
        cap = "" if max_cost is None else nano(max_cost)
        outcome, waiting, hint = self._call_pause(batch_id, action, cap, caller)
        if outcome == BatchPauseOutcome.UNAPPROVED and max_cost is None:
            raise NotAllowed("The batch waits for an approval, which a resume does not give. Approve it.")
        acted = outcome in (BatchPauseOutcome.PAUSED, BatchPauseOutcome.RESUMED)
        return BatchActionResult(action, int(waiting) if acted else 0, admit_hint=bool(hint))

    def _call_pause(self, batch_id: str, action: str, cap: int | str, caller: str) -> tuple[str, Any, Any]:
        outcome, waiting, hint = self._scripts.call("pause", batch_id, action, cap, duration_micros(CAP_REPEAT), caller)
        if outcome == BatchPauseOutcome.UNKNOWN:
            raise BatchNotFound(batch_id)
        return outcome, waiting, hint

    def _begin_sweep(self, batch_id: str, action: str) -> BatchActionResult:
        end, hint_due = time.monotonic() + AT_ONCE, False
        while True:
            more, affected, pending, hint = self._scripts.call("sweep", batch_id, STEP, duration_micros(RECHECK))
            hint_due = hint_due or bool(hint)
            if not more or time.monotonic() > end:
                return BatchActionResult(action, int(affected), int(pending), hint_due)


def _progress(batch_id: str, row: Any) -> Progress | None:
    try:
        with decoding(f"batch {printable(batch_id)}"):
            accepted, paused, doing, *ends = row
            ended = sum(int(ended or 0) for ended in ends)
            return Progress.of(int(accepted or 0), ended, paused=paused is not None, taking_in=doing == "commit")
    except RecordDamaged as error:
        log.warning("left out: %s", error)
        return None
