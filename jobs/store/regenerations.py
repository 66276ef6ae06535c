"""Regenerations: a new job for the images of a completed one, which are paid for once more."""

from dataclasses import dataclass

from jobs.errors import JobNotFound, NotAllowed
from jobs.new_job import NewJob
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.room import Room
from jobs.store.arguments import within
from jobs.store.context import StoreContext
from jobs.store.outcomes.jobs import RegenerateOutcome
from jobs.units import duration_micros


@dataclass(frozen=True, slots=True)
class Regenerated:
    """What `regenerate` did. `job`: the id of the job that generates the images once more; '' where there is none."""

    outcome: RegenerateOutcome
    job: str
    admit_hint: bool


class Regenerations:
    """The verb for regenerations. It raises `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._scripts = context.scripts

    def regenerate(self, job_id: str, new: NewJob, *, room: Room | None = None, caller: str = ANYONE) -> Regenerated:
        """Accept the job `new`, in the same batch, to generate a completed job's images once more.

        A job has one successor; a repeat with the same request finds it (`RegenerateOutcome.SAME`). `room`: as for
        `Jobs.enqueue`. Outcomes that the caller explains: CONFLICT, IMAGELESS and FULL. Raises `JobNotFound` and
        `NotAllowed`.
        """
        row = self._scripts.call(
            "regenerate", job_id, caller, new.id, new.text, new.to_script_json(), duration_micros(RECHECK), within(room)
        )
        outcome, job, hint = RegenerateOutcome(row[0]), str(row[1]), bool(row[2])
        if outcome is RegenerateOutcome.UNKNOWN:
            raise JobNotFound(job_id)
        if outcome is RegenerateOutcome.NO_OUTPUT:
            raise NotAllowed("The job has no images, so there is nothing to generate once more. Retry it instead.")
        return Regenerated(outcome, job, hint)
