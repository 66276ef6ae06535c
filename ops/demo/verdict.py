"""Whether the promises were kept: no job lost, no job paid for twice, every cent accounted for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from boomerang_client import Job, Status
from jobs.attempt_ids import ATTEMPT_MARK
from jobs.producer_ids import given_id

#: Faults after which the response does not show whether a task was created.
DOUBTFUL = ("lost_answers", "error_after", "error_before", "cut_before", "html", "truncated", "ghost")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The figures of the table. Costs are in US dollars."""

    sent: int
    rejected: int
    completed: int
    failed: int
    by_callback: int
    by_poll: int
    by_other: int
    retried: int
    submits: int
    doubts: int
    still_in_doubt: int
    lost: int
    bought_twice: int
    cost: Decimal
    ledger: Decimal
    images: int
    images_missing: int
    unsaved: int
    not_deleted: int
    callbacks_dropped: int
    seconds: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, one sentence each."""
        promises = {
            f"{self.lost} jobs have not ended": self.lost == 0,
            f"{self.bought_twice} jobs were paid for twice": self.bought_twice == 0,
            f"{self.cost} USD are recorded, but {self.ledger} USD were charged": self.cost == self.ledger,
            f"{self.unsaved} images were not saved before the provider deleted them": self.unsaved == 0,
            f"{self.images_missing} images could not be fetched from the result store": self.images_missing == 0,
            f"{self.not_deleted} images are still at the provider": self.not_deleted == 0,
        }
        return [what for what, kept in promises.items() if not kept]


def judge(
    *,
    accepted: Sequence[str],
    rejected: int,
    jobs: Mapping[str, Job],
    cost: Decimal,
    ledger: Mapping[str, Any],
    stats: Mapping[str, Any],
    images: tuple[int, int],
    not_deleted: int,
    seconds: float,
) -> Verdict:
    """Compare the records of the service with those of the simulator.

    `accepted`: ids of the accepted jobs; `cost`: the sum that the service recorded; `ledger` and `stats`: those of the
    simulator; `images`: how many came from the result store, and how many are missing; `not_deleted`: how many the
    simulator still has.
    """
    ended = [
        job for job in jobs.values() if job.id in set(accepted) and job.status in {Status.COMPLETED, Status.FAILED}
    ]
    bought = [
        each
        for each in ledger["purchases"]
        if given_id(str(each["external_task_id"])).partition(ATTEMPT_MARK)[0] in set(accepted)
    ]
    names = [each["external_task_id"] for each in bought]
    settled = [job.settled_by for job in ended]
    fired: Mapping[str, int] = stats["fired"]
    by_callback, by_poll = settled.count("callback"), settled.count("poll")
    return Verdict(
        sent=len(accepted) + rejected,
        rejected=rejected,
        completed=sum(job.status is Status.COMPLETED for job in ended),
        failed=sum(job.status is Status.FAILED for job in ended),
        by_callback=by_callback,
        by_poll=by_poll,
        by_other=len(ended) - by_callback - by_poll,
        retried=sum(job.attempt > 1 for job in ended),
        submits=int(stats["calls"]["submit"]),
        doubts=sum(fired.get(fault, 0) for fault in DOUBTFUL),
        still_in_doubt=sum(job.status in {Status.IN_DOUBT, Status.SUBMITTING} for job in jobs.values()),
        lost=len(accepted) - len(ended),
        bought_twice=len(names) - len(set(names)),
        cost=cost,
        ledger=sum((Decimal(each["cost"]) for each in bought if each["billed"]), Decimal(0)),
        images=images[0],
        images_missing=images[1],
        unsaved=sum(
            output.saved_at is None for job in ended if job.status is Status.COMPLETED for output in job.output
        ),
        not_deleted=not_deleted,
        callbacks_dropped=fired.get("drop_callbacks", 0),
        seconds=seconds,
    )
