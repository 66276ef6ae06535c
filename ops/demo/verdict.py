"""What became of the promises: nothing lost, nothing bought twice, every cent accounted for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from boomerang_client import Job, Status

#: Faults after which nobody can tell from the answer whether something was bought.
DOUBTFUL = ("lost_answers", "error_after", "error_before", "cut_before", "html", "truncated", "ghost")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All that the table shows. Costs in US dollars."""

    asked: int
    refused: int
    completed: int
    failed: int
    by_callback: int
    by_poll: int
    by_other: int
    again: int
    submits: int
    doubts: int
    still_in_doubt: int
    lost: int
    bought_twice: int
    cost: Decimal
    ledger: Decimal
    pictures: int
    pictures_missing: int
    callbacks_dropped: int
    seconds: float

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept."""
        promises = {
            f"{self.lost} jobs have no end": self.lost == 0,
            f"{self.bought_twice} were bought twice": self.bought_twice == 0,
            f"{self.cost} USD accounted for, {self.ledger} USD charged": self.cost == self.ledger,
            f"{self.pictures_missing} pictures could not be fetched": self.pictures_missing == 0,
        }
        return [what for what, kept in promises.items() if not kept]


def judge(
    *,
    asked: Sequence[str],
    refused: int,
    jobs: Mapping[str, Job],
    cost: Decimal,
    ledger: Mapping[str, Any],
    stats: Mapping[str, Any],
    pictures: tuple[int, int],
    seconds: float,
) -> Verdict:
    """Hold what the service says against what the simulator says.

    `asked`: ids of the jobs that were accepted; `cost`: the service's own sum; `ledger` and `stats`: the simulator's;
    `pictures`: fetched, missing.
    """
    ended = [job for job in jobs.values() if job.id in set(asked) and job.status in {Status.COMPLETED, Status.FAILED}]
    bought = [each for each in ledger["purchases"] if str(each["external_task_id"]).split("~")[0] in set(asked)]
    names = [each["external_task_id"] for each in bought]
    settled = [job.settled_by for job in ended]
    fired: Mapping[str, int] = stats["fired"]
    by_callback, by_poll = settled.count("callback"), settled.count("poll")
    return Verdict(
        asked=len(asked) + refused,
        refused=refused,
        completed=sum(job.status is Status.COMPLETED for job in ended),
        failed=sum(job.status is Status.FAILED for job in ended),
        by_callback=by_callback,
        by_poll=by_poll,
        by_other=len(ended) - by_callback - by_poll,
        again=sum(job.attempt > 1 for job in ended),
        submits=int(stats["calls"]["submit"]),
        doubts=sum(fired.get(fault, 0) for fault in DOUBTFUL),
        still_in_doubt=sum(job.status in {Status.IN_DOUBT, Status.SUBMITTING} for job in jobs.values()),
        lost=len(asked) - len(ended),
        bought_twice=len(names) - len(set(names)),
        cost=cost,
        ledger=sum((Decimal(each["cost"]) for each in bought if each["billed"]), Decimal(0)),
        pictures=pictures[0],
        pictures_missing=pictures[1],
        callbacks_dropped=fired.get("drop_callbacks", 0),
        seconds=seconds,
    )
