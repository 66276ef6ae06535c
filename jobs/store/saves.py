"""Saving results: which are to be saved, who saves them, and how it ended."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from jobs.claims import Due
from jobs.connections.errors import translate_errors
from jobs.decoding import decoding
from jobs.errors import StoreUnavailable
from jobs.fields import Field, printable
from jobs.result import Result
from jobs.saved import Saved
from jobs.saving import ANNOUNCED, LONGEST
from jobs.store.arguments import flag
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.store.outcomes.deliveries import RecordSaveOutcome, RemoveOutcome, ResaveOutcome
from jobs.units import duration_micros, from_micros

#: Characters kept of the reason why a save failed.
LONGEST_WHY = 200
#: Jobs in one step of a command or of a round.
_STEP = 200
#: How often a result that changes meanwhile is read again.
_READS = 5


@dataclass(frozen=True, slots=True)
class SaveResult:
    """What `Saves.saved` and its like did. `deliver`: deliveries are due now that waited for it."""

    outcome: RecordSaveOutcome
    deliver: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs' results are to be saved, are given up, since when the oldest of each waits, and are saved."""

    owed: int
    oldest_owed: datetime | None
    unsaved: int
    oldest_unsaved: datetime | None
    saved: int
    now: datetime


class Saves:
    """The verbs of saving. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._settings = context.configured
        self._jobs = jobs

    def announce(self) -> None:
        """Note whether this process has a result store, so that all processes owe the saving of results.

        A process without one ends that once no other has announced itself for ANNOUNCED seconds.
        """
        self._scripts.call("announce_saves", self._settings.saves, duration_micros(ANNOUNCED))

    def find_due(self) -> tuple[bool, list[str]]:
        """Return whether to ask a worker to save results, and the jobs whose deliveries no longer wait for results.

        Results are given up here once they have expired and no worker recorded how saving them ended.
        """
        expiry = duration_micros(max(self._settings.result_expiry_of(lane.name) for lane in self._settings.lanes))
        due, released = self._scripts.call("due_saves", flag(bool(self._settings.saves)), expiry, _STEP)
        return bool(due), list(map(str, released))

    def claim(self, lease: float, limit: int, most: int) -> list[Due]:
        """Claim up to `most` jobs, of which all workers hold at most `limit`, for `lease` seconds."""
        rows = [json.loads(row) for row in self._scripts.call("claim_saves", duration_micros(lease), limit, most)]
        dues = []
        for job, row in zip(self._jobs.get_many([row["id"] for row in rows]), rows, strict=True):
            if job:
                dues.append(Due(replace(job, fence=int(row[Field.SAVE_FENCE])), from_micros(row["now"])))
            else:
                # A failed try, so that it does not keep its place, and an operator sees why.
                wait, why = duration_micros(LONGEST), "its record or its result cannot be read"
                self._scripts.call("record_save", row["id"], row[Field.SAVE_FENCE], wait, "", "", why)
        return dues

    def renew(self, lease: float, held: Sequence[tuple[str, int]]) -> int:
        """Extend the leases of saves under way, each a job's id and the fence of its claim; return how many."""
        if not held:
            return 0
        return int(self._scripts.call("renew_saves", duration_micros(lease), *(part for each in held for part in each)))

    @translate_errors()
    def used_before(self) -> bool:
        """Return whether results were ever saved, so that a result store without its marker is another one."""
        return bool(self._client.hexists(self._keys.singleton("totals"), "saved"))

    def saved(self, due: Due, saved: Saved) -> SaveResult:
        """Record that all outputs of a claimed job are in the result store."""
        for _ in range(_READS):
            with translate_errors():
                before = str(self._client.get(self._keys.member("result", due.job.id)) or "")
            with decoding(f"job {printable(due.job.id)}"):
                after = replace(Result.from_json(before), saved=saved).to_json()
            done = self._record(due, "", before, after)
            if done.outcome is not RecordSaveOutcome.CHANGED:
                return done
        raise StoreUnavailable(f"The result of job {due.job.id} changes at each read; saving it is tried again.")

    def removed(self, job_id: str, created_at: datetime, at: datetime) -> bool:
        """Record that the saved outputs of a job no longer exist; return whether there is such a record.

        `created_at` tells the job from a later one with the same id.
        """
        for _ in range(_READS):
            job = self._jobs.get_many([job_id])[0]
            if job is None or job.created_at != created_at or job.saved is None:
                return False
            with translate_errors():
                before = str(self._client.get(self._keys.member("result", job_id)) or "")
            with decoding(f"job {printable(job_id)}"):
                result = Result.from_json(before)
            if result.saved is None:
                continue
            after = replace(result, saved=replace(result.saved, removed_at=at)).to_json()
            if self._scripts.call("results_removed", job_id, before, after) == RemoveOutcome.REMOVED:
                return True
        raise StoreUnavailable(f"The result of job {job_id} changes at each read; its removal is not recorded.")

    def failed(self, due: Due, why: str, retry_in: float) -> SaveResult:
        """Record that a save failed, and is tried again in `retry_in` seconds."""
        return self._record(due, duration_micros(retry_in), why=why)

    def give_up(self, due: Due, why: str) -> SaveResult:
        """Enter a claimed job into the list of unsaved results."""
        return self._record(due, "never", why=why)

    def _record(self, due: Due, wait: str | int, before: str = "", after: str = "", why: str = "") -> SaveResult:
        arguments = due.job.id, due.job.fence, wait, before, after, why[:LONGEST_WHY]
        outcome, deliver = self._scripts.call("record_save", *arguments)
        return SaveResult(RecordSaveOutcome(outcome), bool(deliver))

    def retry(self, ids: Sequence[str], *, again: bool = False) -> dict[str, ResaveOutcome]:
        """Have results saved that are not; `again`: also those that are. Returns an outcome for each id."""
        outcomes: dict[str, ResaveOutcome] = {}
        for start in range(0, len(ids), _STEP):
            step = ids[start : start + _STEP]
            answers = self._scripts.call("resave", flag(again), *step)
            outcomes.update(zip(step, map(ResaveOutcome, answers), strict=True))
        return outcomes

    @translate_errors()
    def backlog(self) -> Backlog:
        """Count the results that are to be saved, and those that were given up."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in ("saves", "unsaved"):
                pipe.zcard(self._keys.singleton(name))
                pipe.zrange(self._keys.singleton(name), 0, 0, withscores=True)
            pipe.hget(self._keys.singleton("totals"), "saved")
            (seconds, micros), owed, first_owed, unsaved, first_unsaved, saved = pipe.execute()
        return Backlog(
            int(owed),
            _first(first_owed),
            int(unsaved),
            _first(first_unsaved),
            int(saved or 0),
            from_micros(int(seconds) * 1_000_000 + int(micros)),
        )


def _first(rows: Sequence[tuple[str, float]]) -> datetime | None:
    return from_micros(rows[0][1]) if rows else None
