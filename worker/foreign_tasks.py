"""Tasks that the provider has under our external id, but that another service or an earlier installation created."""

import logging
from collections.abc import Mapping
from datetime import timedelta

from jobs.job import Due, Job
from jobs.store.store import Store
from worker.provider import Found

log = logging.getLogger(__name__)

#: The error code of a job whose id belongs to another task.
ID_TAKEN = "external_id_taken"


def is_foreign(store: Store, due: Due, found: Found) -> bool:
    """Return whether the task of a refused attempt is not this job's. Call only if the submission was refused.

    It is foreign if it is older than the job and no record of ours sent it. Only its age can tell: the provider's
    status answer contains no request to compare. If in doubt, the task is ours, since a paid result must not be lost:

    - an earlier submission of this attempt may have arrived, or Redis may have forgotten one;
    - the provider does not say when it created the task;
    - Redis lost records of the time in which the task was created.
    """
    job = due.job
    if job.maybe_sent or job.forgotten or found.age is None:
        return False
    now, losses = store.continuity.losses()
    earliest, latest = (now - timedelta(seconds=age) for age in reversed(found.age))
    if latest >= job.created_at or any(since <= latest and earliest <= until for since, until in losses):
        return False
    log.warning(
        "job %s: its id belongs to another task at the provider, which is at least %.0f s older than the job",
        job.id,
        (job.created_at - latest).total_seconds(),
    )
    return True


def id_taken(job: Job) -> Mapping[str, str]:
    """Return the error of a job whose id belongs to another task."""
    words = (job.refusal or {}).get("message", "")
    return {
        "code": ID_TAKEN,
        "message": f"The provider has an older task under the external_task_id {job.given_external_id!r}, which is not "
        "this job's. Nothing was bought. Enqueue the request again under another external_task_id. "
        f"The provider's words: {words}",
    }
