"""The jobs of a batch in input order, read in chunks, so that a caller can stop between them."""

from collections.abc import Iterator, Sequence
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.failures import FailureClass
from jobs.fields import Field
from jobs.job import Job
from jobs.states import State
from jobs.store.chunks import CHUNK
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs

#: Records that are read at once. One with ten long addresses has up to 100 KB.
AT_ONCE = 100
#: A sample of a larger batch: so many runs of neighbouring jobs, at even distances, each of so many jobs.
RUNS, RUN = 20, 50


class BatchMembers:
    """Reads the jobs of batches. All methods raise `StoreUnavailable`; an unknown batch has no jobs."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._jobs = jobs

    @translate_errors()
    def ids(self, batch_id: str, start: int, count: int) -> list[str]:
        """Read ids from position `start`, from 0."""
        ids: Any = self._client.lrange(self._keys.member("members", batch_id), start, start + count - 1)
        return list(ids)

    def parts(
        self, batch_id: str, states: Sequence[State] = (), classes: Sequence[FailureClass] = ()
    ) -> Iterator[list[Job]]:
        """Yield the jobs in lists of at most AT_ONCE; also an empty list where none of a chunk of jobs is wanted.

        `states`: only jobs in these states. `classes`: only jobs with a failure of one of these classes.
        """
        start = 0
        while ids := self.ids(batch_id, start, CHUNK):
            start += len(ids)
            wanted = self._select(ids, states, classes) if states or classes else ids
            if not wanted:
                yield []
            for first in range(0, len(wanted), AT_ONCE):
                jobs = self._jobs.get_many(wanted[first : first + AT_ONCE])
                yield [
                    job
                    for job in jobs
                    if job and (not states or job.state in states) and (not classes or job.failure in classes)
                ]

    def sample(self, batch_id: str) -> Iterator[tuple[list[Job], bool]]:
        """Yield jobs with their requests, spread over the batch; with each list, whether all jobs of it are read.

        A batch of up to RUNS × RUN jobs is read as a whole.
        """
        with translate_errors():
            length: Any = self._client.llen(self._keys.member("members", batch_id))
        whole = length <= RUNS * RUN
        starts = range(0, length, RUN) if whole else [(length - RUN) * run // (RUNS - 1) for run in range(RUNS)]
        for start in starts:
            yield [job for job in self._jobs.get_many(self.ids(batch_id, start, RUN), text=True) if job], whole

    @translate_errors()
    def _select(self, ids: Sequence[str], states: Sequence[State], classes: Sequence[FailureClass]) -> list[str]:
        """Return the jobs that may be wanted, from two fields of each record."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hmget(self._keys.member("job", job_id), [Field.STATE, Field.UNSAVED])
            rows = pipe.execute(raise_on_error=False)
        return [job_id for job_id, row in zip(ids, rows, strict=True) if _may_be_wanted(row, states, classes)]


def _may_be_wanted(row: Any, states: Sequence[State], classes: Sequence[FailureClass]) -> bool:
    if not isinstance(row, list):
        return False  # a damaged record
    state, unsaved = row
    if states and state not in states:
        return False
    return not classes or (FailureClass.UNSAVED in classes if unsaved else state == State.FAILED)
