"""Reviews of outputs: record them, read them, and find the jobs of a batch by them."""

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.errors import JobNotFound, NotAllowed
from jobs.failures import FailureClass
from jobs.job import Job
from jobs.owners import ANYONE
from jobs.review import LETTERS, Mark, Review, Verdict, is_selected, letters, read_reviews
from jobs.states import State
from jobs.store.batch_members import AT_ONCE, BatchMembers
from jobs.store.chunks import CHUNK
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.store.outcomes.jobs import ReviewOutcome

#: Chunks of records that are read for a page.
_MOST_CHUNKS = 5


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A job, and the reviews of its outputs by their number."""

    job: Job
    reviews: Mapping[int, Review]

    def outputs(self, wanted: Collection[Mark]) -> list[int]:
        """Return the numbers of the outputs that have one of these marks; without marks, of all."""
        count = len(self.job.result.output) if self.job.result else 0
        return [number for number in range(count) if is_selected(self.reviews.get(number), wanted)]


class Reviews:
    """The verbs for reviews. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._jobs = jobs
        self._members = BatchMembers(context, jobs)

    def review(
        self,
        job_id: str,
        output: int,
        verdict: Verdict | None = None,
        *,
        starred: bool = False,
        note: str = "",
        by: str = "",
        caller: str = ANYONE,
    ) -> ReviewOutcome:
        """Replace the review of an output; without a verdict, a star and a note, forget it.

        `by`: the id of the reviewer's key. A repeat changes nothing. Raises `JobNotFound`, and `NotAllowed` for an
        output that does not exist.
        """
        (answer,) = self._scripts.call("review", job_id, caller, output, letters(verdict, starred=starred), note, by)
        outcome = ReviewOutcome(answer)
        if outcome is ReviewOutcome.UNKNOWN:
            raise JobNotFound(job_id)
        if outcome is ReviewOutcome.NO_OUTPUT:
            raise NotAllowed(f"The job has no output {output}, so there is nothing to review.")
        return outcome

    @translate_errors()
    def of(self, ids: Sequence[str]) -> list[dict[int, Review]]:
        """Read the reviews of several jobs in one round trip, by output. Raises `RecordDamaged`."""
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(self._keys.member("reviews", job_id))
            rows: list[Any] = pipe.execute()
        return [read_reviews(job_id, row) for job_id, row in zip(ids, rows, strict=True)]

    def parts(
        self,
        batch_id: str,
        wanted: Collection[Mark] = (),
        states: Sequence[State] = (),
        classes: Sequence[FailureClass] = (),
    ) -> Iterator[list[Reviewed]]:
        """Yield the jobs of a batch of which an output has one of these marks, in the order of their creation.

        It yields an empty list for a chunk of jobs of which none is wanted. Without `wanted` it yields all jobs.
        `states`, `classes`: as for `BatchMembers.parts`. An unknown batch has no jobs.
        """
        if wanted and Mark.UNREVIEWED not in wanted:
            parts = self._indexed(batch_id, wanted, states, classes)
        else:
            parts = self._members.parts(batch_id, states, classes)
        for part in parts:
            yield self._with_reviews(part, wanted)

    def page(self, batch_id: str, mark: Mark | None, cursor: str, limit: int) -> tuple[list[Reviewed], str | None]:
        """Read up to `limit` jobs of a batch with outputs that have the mark (None: any), and the next cursor.

        `cursor`: '' for the first page. A page may be short, or empty, although more follow: it reads a bounded number
        of records.
        """
        wanted = [mark] if mark else []
        if mark and mark in LETTERS:
            rows = self._range(self._keys.member("marked", f"{LETTERS[mark]}|{batch_id}"), f"({cursor or 0}", limit)
            ids = list(dict.fromkeys(member.partition(":")[2] for member, _ in rows))
            jobs = [job for job in self._jobs.get_many(ids) if job]
            return self._with_reviews(jobs, wanted), f"{rows[-1][1]:.0f}" if len(rows) == limit else None
        start, found = int(cursor or 0), list[Reviewed]()
        for _ in range(_MOST_CHUNKS):
            ids = self._members.ids(batch_id, start, AT_ONCE)
            jobs = [job for job in self._jobs.get_many(ids) if job and job.result and job.result.output]
            chosen = self._with_reviews(jobs, wanted)[: limit - len(found)]
            found += chosen
            if len(found) == limit:
                return found, str(start + ids.index(chosen[-1].job.id) + 1)
            if len(ids) < AT_ONCE:
                return found, None
            start += len(ids)
        return found, str(start)

    def _with_reviews(self, jobs: Sequence[Job], wanted: Collection[Mark]) -> list[Reviewed]:
        reviews = self.of([job.id for job in jobs])
        found = [Reviewed(job, each) for job, each in zip(jobs, reviews, strict=True)]
        return [each for each in found if not wanted or each.outputs(wanted)]

    def _indexed(
        self, batch_id: str, wanted: Collection[Mark], states: Sequence[State], classes: Sequence[FailureClass]
    ) -> Iterator[list[Job]]:
        entries = heapq.merge(*(self._entries(batch_id, mark) for mark in wanted))
        ids = (job_id for (_, job_id), _ in groupby(entries))
        while part := list(islice(ids, AT_ONCE)):
            yield [
                job
                for job in self._jobs.get_many(part)
                if job and (not states or job.state in states) and (not classes or job.failure in classes)
            ]

    def _entries(self, batch_id: str, mark: Mark) -> Iterator[tuple[float, str]]:
        """Yield (µs of the creation, job id) for each output with the mark, by time."""
        key, after = self._keys.member("marked", f"{LETTERS[mark]}|{batch_id}"), "-inf"
        while rows := self._range(key, after):
            yield from ((score, member.partition(":")[2]) for member, score in rows)
            # Outputs at the same time are of the same job, which was yielded.
            after = f"({rows[-1][1]:.0f}"

    @translate_errors()
    def _range(self, key: str, after: str, most: int = CHUNK) -> list[tuple[str, float]]:
        rows: Any = self._client.zrangebyscore(key, after, "+inf", start=0, num=most, withscores=True)
        return list(rows)
