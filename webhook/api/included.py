"""What views of jobs have on request only (`include`): the request, and its earlier revisions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.job import Job
from jobs.links import Links
from jobs.serializers import serialize_job
from jobs.store.store import Store


@dataclass(frozen=True, slots=True)
class Views:
    """Makes views of jobs with what a caller wants included (schemas.queries.INCLUDED)."""

    store: Store
    links: Links
    include: Collection[str] = ()

    def of(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Return views of jobs. Reads their revisions, in one round trip; their requests were read with the jobs."""
        with_request = "request" in self.include
        if "revisions" not in self.include:
            return [serialize_job(job, self.links, with_request=with_request) for job in jobs]
        corrected = [job.id for job in jobs if job.revision > 1]
        earlier = self.store.revisions.earlier(corrected) if corrected else ()
        found = dict(zip(corrected, earlier, strict=True))
        return [serialize_job(job, self.links, found.get(job.id, ()), with_request=with_request) for job in jobs]
