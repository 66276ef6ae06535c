"""Uploads of all lines or none: staged in chunks, then accepted together."""

from collections.abc import Sequence

from jobs.batch_action import BatchActionResult
from jobs.connections.errors import translate_errors
from jobs.errors import NotAllowed, ServiceFull
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.room import Room
from jobs.store.arguments import job_arguments, within
from jobs.store.batches import STEP
from jobs.store.context import StoreContext
from jobs.store.outcomes.batches import CommitOutcome
from jobs.units import duration_micros

#: How long (seconds) staged jobs are kept after the last call.
STAGED = 3600.0


class Uploads:
    """The verbs of an upload, which the caller identifies by a token. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    def stage(
        self, token: str, jobs: Sequence[NewJob], *, caller: str = ANYONE, room: Room | None = None
    ) -> tuple[Outcome, ...]:
        """Stage jobs that `commit` accepts together, or not at all; at most a few hundred a call.

        They are invisible until then, and are deleted `STAGED` seconds after the last call. `caller`: whose jobs may
        already exist (`Outcome.KNOWN`). `most`: the limit of unfinished jobs, these included.
        """
        arguments = (int(STAGED), within(room), caller, *job_arguments(jobs))
        return tuple(map(Outcome, self._scripts.call("stage", token, *arguments)))

    def commit(
        self, token: str, batch_id: str, staged: int, options: BatchOptions | None = None, *, room: Room | None = None
    ) -> BatchActionResult:
        """Accept the `staged` jobs. One step decides; a round of reconcile completes what this call does not.

        `affected`: accepted jobs. `clashes`: lines left out because another request got their id meanwhile. Raises
        `NotAllowed` during another change of the batch, when the staged jobs have expired, or when the batch has become
        another producer's meanwhile. Raises `ServiceFull` above the limits of `room`.
        """
        facts = (options or BatchOptions()).to_script_json()
        outcome = self._scripts.call("commit", token, batch_id, facts, staged, within(room))
        if outcome == CommitOutcome.FULL:
            raise ServiceFull(
                "There would be more unfinished jobs than BOOMERANG_MAX_UNFINISHED or BOOMERANG_KEY_LIMITS allows."
            )
        if outcome == CommitOutcome.BUSY:
            raise NotAllowed("The batch is being cancelled, retried or enqueued. Send this again in a moment.")
        if outcome == CommitOutcome.TAKEN:
            raise NotAllowed(
                "Another producer has taken the id of this batch meanwhile. Send the upload under another id."
            )
        if outcome == CommitOutcome.GONE:
            raise NotAllowed(
                f"What was uploaded is forgotten: it paused for more than {STAGED:.0f} s, or an image of it is not "
                "kept any more; send it again, with the image."
            )
        if outcome == CommitOutcome.EMPTY:
            return BatchActionResult("commit", 0)
        hint_due, more = False, 1
        while more:
            more, affected, _, hint = self._scripts.call("sweep", batch_id, STEP, duration_micros(RECHECK))
            hint_due = hint_due or bool(hint)
        with translate_errors():
            clashes = self._client.hget(self._keys.member("batch", batch_id), "clash")
        return BatchActionResult("commit", int(affected), admit_hint=hint_due, clashes=int(clashes or 0))

    def discard(self, token: str) -> None:
        """Delete the staged jobs."""
        self._scripts.call("unstage", token)
