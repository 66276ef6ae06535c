"""Outputs that a failed try to save a job fetched: they are kept in the store, so that the next try need not."""

import logging
from collections.abc import Iterable
from hashlib import sha256

from jobs.blobs.blob import KEPT, Draft
from jobs.blobs.bucket import Bucket
from jobs.errors import ResultsUnavailable
from jobs.job import Job
from worker.http.transfer import Body

log = logging.getLogger(__name__)


class KeptOutputs:
    """Keeps outputs of jobs until all outputs of their job are saved. What is forgotten is swept (Bucket.sweep)."""

    def __init__(self, results: Bucket) -> None:
        self._results = results

    def load(self, job: Job, index: int, draft: Draft) -> Body | None:
        """Copy a kept output into an empty draft; None if there is none. Raises `ResultsUnavailable`."""
        if not (job.save and job.save.tries):
            return None  # this is the first try
        name = _name(job, index)
        there = self._results.info(name)
        if there is None:
            return None
        digest, size = sha256(), 0
        for piece in self._results.stream(name, 0, there.size):
            draft.file.write(piece)
            digest.update(piece)
            size += len(piece)
        draft.file.flush()
        return Body(digest.hexdigest(), size)

    def keep(self, job: Job, index: int, draft: Draft) -> bool:
        """Keep an output that was fetched and checked. Return False if the store fails."""
        try:
            self._results.put(draft, _name(job, index))
        except ResultsUnavailable as error:
            log.warning("job %s: output %d is not kept, and is fetched again: %s", job.id, index, error)
            return False
        return True

    def forget(self, job: Job, indexes: Iterable[int]) -> None:
        """Remove kept outputs of a job, if there are any."""
        if names := [_name(job, index) for index in indexes]:
            self._results.remove(names)


def _name(job: Job, index: int) -> str:
    """Return the name of a kept output. A result with another address, or of a later job, has another one."""
    url = job.result.output[index]["url"] if job.result else ""
    key = sha256(f"{job.id} {job.created_at.isoformat()} {index} {url}".encode("utf-8", "surrogatepass"))
    return f"{KEPT}/{key.hexdigest()}"
