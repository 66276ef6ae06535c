"""The earlier revisions of a job's request: what was sent, how it ended, and what it cost, before each correction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from jobs.decoding import decoding
from jobs.failures import FailureClass, classify
from jobs.fields import printable
from jobs.result import Result
from jobs.states import State
from jobs.units import dollars, from_micros

#: Revisions of one request, the present one included. Each is kept as long as the job.
MOST_REVISIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """An earlier revision. `attempts`: the numbers of its first and last attempt; `cost`: of all of them, in USD.

    `text`: the request as canonical JSON. `state`, `error` and `ended_at`: of the end before `corrected_at`.
    """

    number: int
    text: str
    state: State
    error: Mapping[str, str] | None
    reason: str | None
    attempts: tuple[int, int]
    cost: Decimal
    last_cost: Decimal | None = None  #: of its last attempt; None: the provider named no price
    ended_at: datetime
    corrected_at: datetime

    @property
    def failure(self) -> FailureClass | None:
        """The class of its failure; None: it had not failed."""
        return classify((self.error or {}).get("code", "")) if self.state is State.FAILED else None


def read_revisions(job_id: str, texts: Sequence[str]) -> tuple[Revision, ...]:
    """Deserialize the stored revisions of a job, oldest first. Raises `RecordDamaged`."""
    found, cost = [], 0
    with decoding(f"the revisions of job {printable(job_id)}"):
        for number, text in enumerate(texts, start=1):
            entry: dict[str, Any] = json.loads(text)
            result = Result.from_json(entry["result"]) if "result" in entry else Result()
            # The stored cost is that of all revisions so far.
            found.append(
                Revision(
                    number=number,
                    text=entry["text"],
                    state=State(entry["state"]),
                    error=result.error,
                    reason=entry.get("reason"),
                    attempts=(int(entry["first"]), int(entry["last"])),
                    cost=dollars(int(entry["cost"]) - cost),
                    last_cost=result.cost,
                    ended_at=from_micros(entry["ended"]),
                    corrected_at=from_micros(entry["corrected"]),
                )
            )
            cost = int(entry["cost"])
    return tuple(found)
