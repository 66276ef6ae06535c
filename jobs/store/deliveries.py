"""Deliveries of results: to Celery messages and to callback URLs."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jobs.claims import Due
from jobs.delivery_log import Attempt
from jobs.errors import RecordDamaged
from jobs.fields import Field
from jobs.job import Delivery
from jobs.receivers import Turn, read_turn
from jobs.store.arguments import flag
from jobs.store.attempts import DUE_LEASE
from jobs.store.context import StoreContext
from jobs.store.jobs import Jobs
from jobs.store.outcomes.deliveries import DeliveryOutcome, RedeliverOutcome
from jobs.units import duration_micros, from_micros

log = logging.getLogger(__name__)

#: Characters kept of the reason why a delivery failed.
LONGEST_WHY = 200
#: Jobs in one step of a retry.
_STEP = 200


def recorded(answers: Sequence[Any]) -> list[str]:
    """Return the ids in the second answer, after a log line where the first one is `RecordDamaged`."""
    of_record, started = answers
    if isinstance(of_record, RecordDamaged):
        log.error("The answer to a notification was not recorded, so it will be sent again: %s", of_record)
    if isinstance(started, RecordDamaged):
        raise started
    return list(map(str, started))


class Deliveries:
    """The verbs of deliveries. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext, jobs: Jobs) -> None:
        self._scripts = context.scripts
        self._jobs = jobs

    def claim(self, ids: Sequence[str]) -> list[Due]:
        """Claim the deliveries of those jobs that have ended and owe some; return them with their results."""
        if not ids:
            return []
        rows = [json.loads(row) for row in self._scripts.call("claim_deliveries", duration_micros(DUE_LEASE), *ids)]
        jobs = self._jobs.get_many([row["id"] for row in rows])
        return [
            Due(replace(job, fence=int(row[Field.FENCE])), from_micros(row["now"]))
            for job, row in zip(jobs, rows, strict=True)
            if job
        ]

    def record(self, due: Due, kind: str, *, retry_in: float | None = None, why: str = "") -> DeliveryOutcome:
        """Record that a delivery was made, or that it failed (`why`) and is retried in `retry_in` seconds."""
        return self._record(due, kind, "" if retry_in is None else duration_micros(retry_in), why)

    def postpone_notifications(self, postponed: Sequence[tuple[Due, float, str]]) -> None:
        """Record of each that it was not attempted, and is in so many seconds, and why. One round trip.

        What is not recorded is due again when the lease of its claim ends.
        """
        if not postponed:
            return
        calls = [
            ("delivered", *self._arguments(due, Delivery.NOTIFY, duration_micros(seconds), why, attempts=0), "")
            for due, seconds, why in postponed
        ]
        for answer in self._scripts.call_each(calls):
            if isinstance(answer, RecordDamaged):
                log.error("A notification is not postponed, so it is due when its claim ends: %s", answer)

    def give_up(self, due: Due, kind: str, why: str) -> DeliveryOutcome:
        """Stop retrying a delivery until `retry` is called."""
        return self._record(due, kind, "never", why)

    def _record(self, due: Due, kind: str, wait: str | int, why: str) -> DeliveryOutcome:
        return DeliveryOutcome(self._scripts.call("delivered", *self._arguments(due, kind, wait, why), ""))

    @staticmethod
    def _arguments(due: Due, kind: str, wait: str | int, why: str, attempts: int = 1) -> tuple[str | int, ...]:
        return due.job.id, due.job.fence, kind, wait, due.job.tries(Delivery(kind)) + attempts, why[:LONGEST_WHY]

    def begin_notification(self, due: Due, receiver: str, limit: int, *, last_chance: bool = False) -> Turn:
        """Ask for one of `limit` places to notify the job's producer. A granted one ends by `end_notification`.

        `last_chance`: an open breaker lets it through, one at a time.
        """
        arguments = due.job.id, due.job.fence, receiver, limit, flag(last_chance)
        return read_turn(receiver, self._scripts.call("begin_notification", *arguments))

    def end_notification(
        self,
        due: Due,
        turn: Turn,
        *,
        limit: int,
        random: float,
        retry_in: float | None = None,
        why: str = "",
        begin: int = 1,
        attempt: Attempt | None = None,
        disable_after: float = 0.0,
    ) -> list[str]:
        """Record that a notification was accepted, or failed (`why`; None as `retry_in`: it is given up).

        `attempt`: for its log. `disable_after`: seconds of failures after which the receiver is disabled; 0: never.

        Returns the ids of up to `begin` jobs that waited and have a place now. One round trip.
        """
        wait = "" if not why else "never" if retry_in is None else duration_micros(retry_in)
        log = attempt.to_json() if attempt else ""
        record = ("delivered", *self._arguments(due, Delivery.NOTIFY, wait, why), log)
        accepted = "0" if why else "1"
        place = due.job.id, turn.owner, turn.receiver, accepted, random, limit, begin
        end = ("end_notification", *place, due.job.fence, why[:LONGEST_WHY], duration_micros(disable_after))
        return recorded(self._scripts.call_each([record, end]))

    def retry(self, ids: Sequence[str]) -> dict[str, RedeliverOutcome]:
        """Retry deliveries that were given up; return an outcome for each id."""
        outcomes: dict[str, RedeliverOutcome] = {}
        for start in range(0, len(ids), _STEP):
            step = ids[start : start + _STEP]
            outcomes.update(zip(step, map(RedeliverOutcome, self._scripts.call("redeliver", *step)), strict=True))
        return outcomes
