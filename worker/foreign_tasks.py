"""Tasks that the provider has under our external id, but that another service or an earlier installation created."""

import logging
from collections.abc import Mapping
from datetime import timedelta

from jobs.claims import Due
from jobs.failures import ID_TAKEN
from jobs.job import Job
from jobs.store.store import Store
from worker.provider import Found

log = logging.getLogger(__name__)

#: Seconds by which a task must be older than its job if the submission was accepted. The provider refuses an id that
#: exists, or is idempotent: then the answer to the submission names the older task.
ACCEPTED_MARGIN = 3600.0
#: The clock of Redis went back if a job was sent so many seconds before it was created.
_CLOCK_MARGIN = timedelta(seconds=1)


class ForeignTasks:
    """Recognises tasks that are not their job's.

    A task is foreign if it is older than the job and no record of ours sent it. Only its age can tell: the provider's
    status answer contains no request to compare. If in doubt, the task is ours, since a paid result must not be lost:

    - an earlier submission of this attempt may have arrived, or Redis may have forgotten one;
    - the provider does not say when it created the task;
    - Redis lost records of the time in which the task was created;
    - the clock of Redis went back: the job was sent before it was created, or later than now;
    - the submission was accepted, and the provider may date all tasks wrong: this process has seen none dated right.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dates_right: set[str] = set()  # lanes

    def has(self, due: Due, found: Found) -> bool:
        """Return whether the task that was found under the id of the job is not the job's."""
        job, lane = due.job, due.job.lane
        if job.maybe_sent or job.forgotten or found.age is None or _clock_went_back(due):
            return False
        # A cheap check first: it needs no call, and almost every task passes it.
        margin = 0.0 if job.refusal else ACCEPTED_MARGIN
        least_age, job_age = found.age[0] - margin, (due.now - job.created_at).total_seconds()
        if least_age <= job_age:
            self._dates_right.add(lane)
            return False
        now, losses = self._store.continuity.losses()
        earliest, latest = (now - timedelta(seconds=age) for age in reversed(found.age))
        if latest >= job.created_at or any(since <= latest and earliest <= until for since, until in losses):
            return False
        if not job.refusal and lane not in self._dates_right:
            log.warning(
                "job %s: its task is dated before the job: not believed, because lane %s dated no other right",
                job.id,
                lane,
            )
            return False
        log.warning(
            "job %s: its id belongs to another task at the provider, which is at least %.0f s older than the job",
            job.id,
            (job.created_at - latest).total_seconds(),
        )
        return True


def _clock_went_back(due: Due) -> bool:
    started = due.job.started_at
    return started is not None and (due.now < started or started < due.job.created_at - _CLOCK_MARGIN)


def id_taken(job: Job) -> Mapping[str, str]:
    """Return the error of a job whose id belongs to another task."""
    words = (job.refusal or {}).get("message", "")
    return {
        "code": ID_TAKEN,
        "message": f"The provider has an older task under the external id {job.external_task_id!r}, which is not "
        "this job's. Nothing was bought. Enqueue the request again under another external_task_id."
        + (f" The provider's words: {words}" if words else ""),
    }
