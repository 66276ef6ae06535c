"""What views of jobs have on request only (`include`): the request, and its earlier revisions."""

from collections.abc import Collection, Sequence
from typing import Any

from jobs.job import Job
from jobs.serializers import serialize_job
from jobs.store.store import Store


def serialize_jobs(store: Store, jobs: Sequence[Job], include: Collection[str]) -> list[dict[str, Any]]:
    """Return views of jobs. Revisions are read here, in one round trip; requests were read with the jobs."""
    with_request = "request" in include
    if "revisions" not in include:
        return [serialize_job(job, with_request=with_request) for job in jobs]
    corrected = [job.id for job in jobs if job.revision > 1]
    found = dict(zip(corrected, store.revisions.earlier(corrected) if corrected else (), strict=True))
    return [serialize_job(job, found.get(job.id, ()), with_request=with_request) for job in jobs]
