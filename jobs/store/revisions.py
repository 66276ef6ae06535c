"""Corrections of requests: the next revision of a job that ended without output, and the earlier ones."""

import hashlib
from collections.abc import Sequence

from jobs.connections.errors import translate_errors
from jobs.errors import JobNotFound, NotAllowed
from jobs.new_job import NewJob
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.revision import MOST_REVISIONS, Revision, read_revisions
from jobs.room import Room
from jobs.store.arguments import within
from jobs.store.context import StoreContext
from jobs.store.outcomes.jobs import ReviseOutcome
from jobs.store.transitions import TransitionResult, read_transition
from jobs.units import duration_micros

_OTHER = "enqueue the corrected request under another external_task_id"
#: Why a correction is not allowed.
_REFUSALS = {
    ReviseOutcome.REFUSED: "The job is completed. To pay for its images once more, POST /v1/jobs/<id>/regenerate.",
    ReviseOutcome.UNFINISHED: "The job has not ended: only a request that failed, expired or was cancelled can be "
    "corrected. Cancel the job first, or wait for its end.",
    ReviseOutcome.WORKING: "The provider may still be working on the job: another request could be paid for as well. "
    "Try again once the provider is done with it.",
    ReviseOutcome.FORGOTTEN: "Redis lost data, and the job may have been sent before. Retry it without changes, which "
    f"looks it up first; or {_OTHER}.",
    ReviseOutcome.HAS_OUTPUT: "The job was cancelled, but its images were generated and paid for: they are its output. "
    f"For others, {_OTHER}.",
    ReviseOutcome.TOO_MANY: f"The request has {MOST_REVISIONS} revisions already. Instead, {_OTHER}.",
    ReviseOutcome.OTHER_KEY: "The Idempotency-Key belongs to another correction of this job. Use another key.",
}


class Revisions:
    """The verbs for revisions. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts

    def revise(
        self, new: NewJob, *, room: Room | None = None, caller: str = ANYONE, key: str | None = None, by: str = ""
    ) -> TransitionResult[ReviseOutcome]:
        """Replace the request of the job `new.id`, which ended without output, and queue it again.

        A repeat with the same request, or the same `key`, changes nothing (`ReviseOutcome.SAME`). `room`: limits of
        unfinished jobs, as for `Jobs.enqueue`. `by`: the id of the caller's key. Outcomes that the caller explains:
        IMAGELESS and FULL. Raises `JobNotFound` and `NotAllowed`.
        """
        mark = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32] if key is not None else ""
        facts = (new.text, new.to_script_json(), within(room), mark, MOST_REVISIONS)
        row = self._scripts.call("revise", new.id, duration_micros(RECHECK), caller, *facts, by)
        revised = read_transition(ReviseOutcome, (*row, 0))
        if revised.outcome is ReviseOutcome.UNKNOWN:
            raise JobNotFound(new.id)
        if revised.outcome in _REFUSALS:
            raise NotAllowed(_REFUSALS[revised.outcome])
        return revised

    @translate_errors()
    def earlier(self, ids: Sequence[str]) -> list[tuple[Revision, ...]]:
        """Read the earlier revisions of several jobs in one round trip, oldest first. Raises `RecordDamaged`."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.lrange(self._keys.member("revisions", job_id), 0, -1)
            rows = pipe.execute()
        return [read_revisions(job_id, row) for job_id, row in zip(ids, rows, strict=True)]
