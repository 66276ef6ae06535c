"""An upload so far: its options, and the results of its lines."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from jobs.job import Priority
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.pilot import Sample
from jobs.producer_ids import given_id
from jobs.store.forecasts import Block
from schemas import RequestInvalid
from webhook.access.auth import caller
from webhook.api.enqueue import conflict
from webhook.http.problems import ProblemError

#: Refused lines that an answer lists, and bytes of all of them as JSON. It only counts the others.
MOST_ERRORS, MOST_ERROR_BYTES = 1_000, 256 * 1024


TAKEN = "This batch id (or Idempotency-Key) is taken. Send the upload under another one."


@dataclass
class Upload:
    """An upload: the service's id and the options of its batch, and the results of its lines so far.

    `given`: names of the options that the caller gave. `imageless`: makes the error for a job that refers to a missing
    image.
    """

    id: str
    imageless: Callable[[NewJob], RequestInvalid]
    options: BatchOptions = field(default_factory=BatchOptions)
    given: Collection[str] = ()
    accepted: int = 0
    known: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    pilot: int | None = None
    warnings: tuple[Block, ...] = ()
    _sample: Sample | None = None
    _bytes_left: int = MOST_ERROR_BYTES

    @property
    def given_id(self) -> str:
        """The id of the batch that the caller gave."""
        return given_id(self.id)

    def join(self, existing: BatchOptions | None) -> None:
        """Use the options of the existing batch, if there is one.

        Raises a problem: 422 if the caller gave other options, 409 for another producer's batch, without its options.
        """
        if existing is None:
            return
        if not caller().sees(existing.owner):
            raise ProblemError(409, TAKEN)
        errors = {
            name: [f"is {_text(old)} since the first upload of the batch; leave it out, or send that value"]
            for name, new, old in (
                ("label", self.options.labels, existing.labels),
                ("priority", self.options.priority or Priority.NORMAL, existing.priority or Priority.NORMAL),
                ("weight", self.options.weight, existing.weight),
                ("max_cost", self.options.max_cost, existing.max_cost),
                ("paused", self.options.paused, existing.paused),
                ("pilot", self.options.pilot, existing.pilot),
                ("callback_url", self.options.callback_url, existing.callback_url),
            )
            if name in self.given and new != old
        }
        if errors:
            raise ProblemError(
                422,
                "The batch with this id (or Idempotency-Key) has other options.",
                errors=errors,
                id=self.given_id,
            )
        self.options = existing

    def refuse(self, line: int, errors: dict[str, list[str]], codes: list[str]) -> None:
        """Count a refused line, and list it until the list is full."""
        self.rejected += 1
        if len(self.errors) == MOST_ERRORS or self._bytes_left < 0:
            return
        error = {"line": line, "errors": errors, "codes": codes}
        self._bytes_left -= len(json.dumps(error, ensure_ascii=False).encode())
        if self._bytes_left >= 0:
            self.errors.append(error)

    def count(self, number: int, job: NewJob, outcome: Outcome) -> None:
        """Count the outcome of a line. Raises a problem, 422, if the line differs from an earlier upload."""
        if outcome is Outcome.CREATED:
            self.accepted += 1
        elif outcome is Outcome.KNOWN:
            self.known += 1
        elif outcome is Outcome.IMAGELESS:
            self.refuse(number, self.imageless(job).errors, [])
        elif given_id(job.id) != f"{self.given_id}.{number}":
            self.refuse(number, conflict(given_id(job.id)), [])
        else:
            raise ProblemError(
                422,
                f"Line {number} differs from the earlier upload under this batch id (or Idempotency-Key). "
                "Send a different upload under a new one.",
                line=number,
                **self.view(),
            )

    def count_all(self, chunk: Sequence[tuple[int, NewJob]], outcomes: Sequence[Outcome]) -> bool:
        """Count the outcomes of a chunk. Return whether all of it is within the limit of unfinished jobs."""
        if self.options.pilot and self._sample is None:
            self._sample = Sample(self.options.pilot)
        for (number, job), outcome in zip(chunk, outcomes, strict=True):
            if outcome is not Outcome.FULL:
                self.count(number, job, outcome)
            if self._sample and outcome in (Outcome.CREATED, Outcome.KNOWN):
                self._sample.add(job.id, job.price_class)
        return Outcome.FULL not in outcomes

    def pilot_jobs(self) -> list[str]:
        """Choose the jobs of the pilot, spread over the lines of this upload."""
        return self._sample.chosen() if self._sample else []

    def view(self) -> dict[str, Any]:
        """Return the result as `schemas.views.batches.BatchAccepted` documents it."""
        return {
            "id": self.given_id,
            "accepted": self.accepted,
            "known": self.known,
            "rejected": self.rejected,
            "errors": sorted(self.errors, key=lambda each: int(each["line"])),
            "pilot": self.pilot,
            "warnings": [{"code": each.code, "message": each.message} for each in self.warnings],
        }


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Mapping():
            return ", ".join(f"{name}={text}" for name, text in sorted(value.items())) or "none"
        case Decimal():
            return format(value, "f")
    return "none" if value is None else str(value)
