"""Reviews of outputs: record them, read them, and find the jobs of a batch by them."""

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.errors import JobNotFound, NotAllowed
from jobs.failures import FailureClass
from jobs.job import Job
from jobs.owners import ANYONE
from jobs.review import LETTERS, Mark, Review, Verdict, is_selected, letters, read_reviews
from jobs.states import State
from jobs.store.batches import Batches
from jobs.store.chunks import CHUNK, chunks
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.store.outcomes import ReviewOutcome


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

    def __init__(self, context: StoreContext, jobs: Jobs, batches: Batches) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._jobs = jobs
        self._batches = batches

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

    def jobs(
        self,
        batch_id: str,
        wanted: Collection[Mark] = (),
        states: Sequence[State] = (),
        classes: Sequence[FailureClass] = (),
    ) -> Iterator[Reviewed]:
        """Yield the jobs of a batch of which an output has one of these marks, in the order of their creation.

        Without `wanted`, all of them. `states` and `classes`: as for `Batches.jobs`. Raises `BatchNotFound`.
        """
        if wanted and Mark.UNREVIEWED not in wanted:
            found = self._indexed(batch_id, wanted, states, classes)
        else:
            found = self._batches.jobs(batch_id, states, classes)
        for chunk in chunks(found):
            for job, reviews in zip(chunk, self.of([job.id for job in chunk]), strict=True):
                reviewed = Reviewed(job, reviews)
                if not wanted or reviewed.outputs(wanted):
                    yield reviewed

    def _indexed(
        self, batch_id: str, wanted: Collection[Mark], states: Sequence[State], classes: Sequence[FailureClass]
    ) -> Iterator[Job]:
        self._batches.get(batch_id)
        entries = heapq.merge(*(self._entries(batch_id, mark) for mark in wanted))
        for ids in chunks(job_id for (_, job_id), _ in groupby(entries)):
            for job in self._jobs.get_many(ids):
                if job and (not states or job.state in states) and (not classes or job.failure in classes):
                    yield job

    def _entries(self, batch_id: str, mark: Mark) -> Iterator[tuple[float, str]]:
        """Yield (µs of the creation, job id) for each output with the mark, by time."""
        key, after = self._keys.member("marked", f"{LETTERS[mark]}|{batch_id}"), "-inf"
        while rows := self._range(key, after):
            yield from ((score, member.partition(":")[2]) for member, score in rows)
            # Outputs at the same time are of the same job, which was yielded.
            after = f"({rows[-1][1]:.0f}"

    @translate_errors()
    def _range(self, key: str, after: str) -> list[tuple[str, float]]:
        rows: Any = self._client.zrangebyscore(key, after, "+inf", start=0, num=CHUNK, withscores=True)
        return list(rows)
