"""What each revision and attempt of a job cost, as far as its record tells them apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from jobs.job import Job
from jobs.revision import Revision


@dataclass(frozen=True, slots=True)
class AttemptCost:
    """The cost of an attempt in USD, or of several together; None: the provider has named no price."""

    revision: int
    first: int
    last: int
    cost: Decimal | None


def costs_of(job: Job, earlier: Sequence[Revision]) -> list[AttemptCost]:
    """Return the costs of a job, oldest first.

    The record keeps the price of the last attempt of each revision, and one sum for the attempts before it.
    """
    found = [each for revision in earlier for each in _of(revision)]
    spent = sum((each.cost for each in earlier), Decimal(0))
    before = None if job.earlier_cost is None else max(Decimal(0), job.earlier_cost - spent)
    first = job.first_attempt
    if job.attempt > first:
        found.append(AttemptCost(job.revision, first, job.attempt - 1, before))
    found.append(AttemptCost(job.revision, job.attempt, job.attempt, job.result.cost if job.result else None))
    return found


def _of(revision: Revision) -> Iterator[AttemptCost]:
    first, last = revision.attempts
    if last > first:
        yield AttemptCost(revision.number, first, last - 1, revision.cost - (revision.last_cost or 0))
    yield AttemptCost(revision.number, last, last, revision.last_cost)
