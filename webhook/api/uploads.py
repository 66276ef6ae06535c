"""Uploads: from the lines of a body to jobs in the store, in chunks."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from jobs.errors import NoLane, ServiceFull, StoreUnavailable, WorkRefused
from jobs.job import Priority
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.pilot import Sample
from jobs.producer_ids import given_id, internal_id
from jobs.store.forecasts import Block, at_cap
from jobs.task_names import SUBMIT
from schemas import BodyInvalid, GenerationRequest, RequestInvalid, parse_json
from webhook.access.auth import caller
from webhook.api.enqueue import conflict, new_id
from webhook.http.problems import REFUSED, ProblemError, unavailable
from webhook.services import Services

#: Jobs that the store gets in one call: enough to make a round trip worthwhile, too few to block Redis.
CHUNK_JOBS = 500
#: Bytes of requests in one call. A line may hold 40 MB of images.
CHUNK_BYTES = 8 * 1024 * 1024
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


def upload(shared: Services, done: Upload, lines: Iterable[tuple[int, bytes | None]]) -> None:
    """Enqueue all valid lines, in chunks, and list the others.

    Raises a problem if Redis fails midway, or if the service is full. What was enqueued stays: the same
    upload again finds its lines known, and continues.
    """
    store, batch = shared.store, done.id
    try:
        # Creates the batch even if every line is bad, and finds out at once whether Redis answers.
        store.jobs.enqueue([], batch, done.options)
        done.join(store.batches.options(batch))
        for chunk in chunks(jobs_in(shared, done, lines, shared.load)):
            jobs = [job for _, job in chunk]
            room = shared.pressure.room(_size(jobs), done.options.owner)
            enqueued = store.jobs.enqueue(jobs, batch, done.options, room=room, caller=caller().owner)
            if enqueued.admit_hint:
                shared.send(SUBMIT)
            if not done.count_all(chunk, enqueued.outcomes):
                raise shared.pressure.refused(
                    f"{done.accepted + done.known:,} jobs of this upload are enqueued. "
                    f"Send the same upload again later with ?id={done.given_id}: it continues where it stopped.",
                    owner=done.options.owner,
                    **done.view(),
                )
        _end(shared, done)
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store stopped answering after {done.accepted + done.known:,} jobs. "
            f"Send the same upload again with ?id={done.given_id}: lines that were enqueued make no second job.",
            **done.view(),
        ) from error


def upload_whole(shared: Services, done: Upload, lines: Iterable[tuple[int, bytes | None]]) -> None:
    """Enqueue all lines or none. Raises a problem, 422, that lists the bad lines.

    The store keeps the lines aside as they come (staged), and commits them at the end.
    """
    store, batch, token = shared.store, done.id, new_id()
    try:
        done.join(store.batches.options(batch))
        _stage(shared, token, done, chunks(jobs_in(shared, done, lines, shared.load)))
        staged, done.accepted = done.accepted, 0
        room = shared.pressure.room(0, done.options.owner)
        acted = store.uploads.commit(token, batch, staged, done.options, room=room)
    except ServiceFull as error:
        with suppress(StoreUnavailable):
            store.uploads.discard(token)
        raise shared.pressure.refused(owner=done.options.owner, **done.view()) from error
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            "The job store stopped answering: all lines are enqueued, or none. "
            f"Send them again with ?id={done.given_id}."
        ) from error
    done.accepted = acted.affected
    done.rejected = acted.clashes
    done.known += staged - acted.affected - acted.clashes
    if acted.admit_hint:
        shared.send(SUBMIT)
    try:
        _end(shared, done)
    except StoreUnavailable as error:
        raise unavailable(
            "The job store stopped answering: all lines are enqueued, but a pilot may not have begun. "
            f"Send them again with ?id={done.given_id}."
        ) from error


def _end(shared: Services, done: Upload) -> None:
    """End an upload: begin the pilot of a batch that has one, and warn of a cap that is too low."""
    if done.options.max_cost is not None:
        batch = shared.store.batches.get(done.id)
        done.warnings = tuple(at_cap(batch.max_cost, batch.estimate))
    if done.options.pilot is None:
        return
    begun = shared.store.batches.begin_pilot(done.id, done.pilot_jobs())
    done.pilot = begun.affected
    if begun.admit_hint:
        shared.send(SUBMIT)


def _stage(shared: Services, token: str, done: Upload, parts: Iterable[list[tuple[int, NewJob]]]) -> None:
    store, whole = shared.store, False
    try:
        for chunk in parts:
            if done.rejected:
                continue  # read on only to list the other bad lines
            jobs = [job for _, job in chunk]
            room = shared.pressure.room(_size(jobs), done.options.owner)
            outcomes = store.uploads.stage(token, jobs, room=room, caller=caller().owner)
            if not done.count_all(chunk, outcomes):
                done.accepted = 0
                raise shared.pressure.refused(owner=done.options.owner, **done.view())
        whole = done.rejected == 0
    finally:
        if not whole:
            done.accepted = 0
            with suppress(StoreUnavailable):  # staged lines expire by themselves
                store.uploads.discard(token)
    if not whole:
        raise ProblemError(
            422,
            "Nothing was enqueued, since some lines are refused. Correct them and send all lines again.",
            **done.view(),
        )


def _size(jobs: Iterable[NewJob]) -> int:
    return sum(len(job.text) for job in jobs)


def jobs_in(
    shared: Services,
    done: Upload,
    lines: Iterable[tuple[int, bytes | None]],
    load: Callable[[object], GenerationRequest],
) -> Iterator[tuple[int, NewJob]]:
    """Yield the job of each valid line with the line's number, and refuse the other lines. `load` validates."""
    settings = shared.settings
    limit = settings.max_body
    for number, line in lines:
        if line is None:
            done.refuse(number, {"request": [f"is longer than {limit:,} bytes; give images as URLs or references"]}, [])
            continue
        if not line or line.isspace():
            continue
        try:
            request = load(parse_json(line))
        except RequestInvalid as error:
            done.refuse(number, error.errors, error.codes)
        except BodyInvalid as error:
            done.refuse(number, {"request": [error.reason]}, [])
        else:
            given = request.external_task_id or f"{done.given_id}.{number}"
            job_id = internal_id(given, done.options.owner)
            try:
                yield (
                    number,
                    NewJob.of(
                        request,
                        job_id,
                        settings.lanes,
                        batch_labels=done.options.labels,
                        notify_unbegun=shared.callback_hosts() is not None,
                    ),
                )
            except NoLane as error:
                done.refuse(number, {"model": [str(error)]}, [])


def chunks(jobs: Iterator[tuple[int, NewJob]]) -> Iterator[list[tuple[int, NewJob]]]:
    """Divide the jobs of an upload into chunks for one call of the store each."""
    chunk: list[tuple[int, NewJob]] = []
    size = 0
    for each in jobs:
        chunk.append(each)
        size += len(each[1].text)
        if len(chunk) == CHUNK_JOBS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
