"""From a producer's bytes to jobs in the store: one request, or an upload of as many as there are lines."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ulid import ULID

from jobs.errors import NoLane, NoRoom, StoreUnavailable, WorkRefused
from jobs.job import Priority
from jobs.new_job import BatchOptions, NewJob, Outcome
from schemas import BodyInvalid, RequestInvalid, parse_json
from webhook.access.auth import caller
from webhook.http.problems import REFUSED, ProblemError, unavailable
from webhook.messages import SUBMIT
from webhook.services import Services

#: Jobs handed to the store in one step: enough to amortise the round trip, few enough not to hold Redis up.
CHUNK_JOBS = 500
#: Bytes of requests handed over in one step: a line may hold 40 MB of images.
CHUNK_BYTES = 8 * 1024 * 1024
#: Refused lines that an answer lists; the rest is counted.
MOST_ERRORS = 1_000

TAKEN = "This batch's id (or Idempotency-Key) is taken; send the upload under another one."
CONFLICT = (
    "is taken by another request; to send this one give it another id, or send exactly the same request as before"
)


@dataclass
class Upload:
    """What became of the lines so far, and what its batch is held to; `given`: which of that the caller named.

    `imageless`: the refusal of a job that names an image which is not there.
    """

    id: str
    imageless: Callable[[NewJob], RequestInvalid]
    options: BatchOptions = field(default_factory=BatchOptions)
    given: Collection[str] = ()
    accepted: int = 0
    known: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def join(self, there: BatchOptions | None) -> None:
        """A batch that is there already has options, which hold. Raises a problem where others are asked for.

        Another producer's is taken, and nothing is told of it.
        """
        if there is None:
            return
        if not caller().sees(there.owner):
            raise ProblemError(409, TAKEN)
        wrong = {
            name: [f"is {_told(theirs)} since the batch was begun; leave it out, or send it as it was then"]
            for name, ours, theirs in (
                ("label", self.options.labels, there.labels),
                ("priority", self.options.priority or Priority.NORMAL, there.priority or Priority.NORMAL),
                ("weight", self.options.weight, there.weight),
                ("max_cost", self.options.max_cost, there.max_cost),
            )
            if name in self.given and ours != theirs
        }
        if wrong:
            raise ProblemError(
                422,
                "This batch's id (or Idempotency-Key) stands for an upload with other options.",
                errors=wrong,
                id=self.id,
            )
        self.options = there

    def refuse(self, line: int, errors: dict[str, list[str]], codes: list[str]) -> None:
        """Count a line that is no job, and list it while the list is short."""
        self.rejected += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"line": line, "errors": errors, "codes": codes})

    def count(self, number: int, job: NewJob, outcome: Outcome) -> None:
        """Count what became of a line. Raises a problem where it shows that this is another upload than before."""
        if outcome is Outcome.CREATED:
            self.accepted += 1
        elif outcome is Outcome.KNOWN:
            self.known += 1
        elif outcome is Outcome.IMAGELESS:
            self.refuse(number, self.imageless(job).errors, [])
        elif job.id != f"{self.id}.{number}":
            self.refuse(number, {"external_task_id": [CONFLICT]}, [])
        else:
            raise ProblemError(
                422,
                f"Line {number} is another request than before under this batch's id (or Idempotency-Key). "
                "Send another upload under another one.",
                **self.view(),
            )

    def count_all(self, chunk: Sequence[tuple[int, NewJob]], outcomes: Sequence[Outcome]) -> bool:
        """Count a chunk. Whether there was room for all of it."""
        for (number, job), outcome in zip(chunk, outcomes, strict=True):
            if outcome is not Outcome.FULL:
                self.count(number, job, outcome)
        return Outcome.FULL not in outcomes

    def view(self) -> dict[str, Any]:
        """As `schemas.views.BatchAccepted`."""
        return {
            "id": self.id,
            "accepted": self.accepted,
            "known": self.known,
            "rejected": self.rejected,
            "errors": sorted(self.errors, key=lambda each: int(each["line"])),
        }


def _told(value: Any) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name}={text}" for name, text in sorted(value.items())) or "none"
        case Decimal():
            return format(value, "f")
    return "none" if value is None else str(value)


def new_id() -> str:
    """An id for a job or batch that came without: ordered by time, safe in a URL, not to be guessed."""
    return str(ULID()).lower()


def upload(shared: Services, done: Upload, lines: Iterable[tuple[int, bytes | None]]) -> None:
    """Take in a batch line by line, in chunks.

    A bad line is listed and the rest goes on. Nothing is undone where the store goes away midway, or where there is no
    room for more: the problem that is raised tells to send the same again, which finds its earlier lines known.
    """
    store, batch = shared.store, done.id
    try:
        # The batch is there although all its lines be bad; and a store that is away shows at once.
        store.jobs.enqueue([], batch, done.options)
        done.join(store.batches.options(batch))
        for chunk in _chunks(_jobs(shared, done, lines)):
            jobs = [job for _, job in chunk]
            enqueued = store.jobs.enqueue(jobs, batch, done.options, most=shared.pressure.limit(_size(jobs)))
            if enqueued.admit_hint:
                shared.send(SUBMIT)
            if not done.count_all(chunk, shared.hide_foreign(jobs, enqueued.outcomes)):
                raise shared.pressure.refused(
                    f"{done.accepted + done.known:,} jobs of this upload are taken in. "
                    f"Send the same upload again later, with ?id={batch}: it goes on where it stopped.",
                    **done.view(),
                )
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store went away after {done.accepted + done.known} jobs. "
            f"Send the same upload again with ?id={batch}: lines that were taken in make no second job.",
            **done.view(),
        ) from error


def upload_whole(shared: Services, done: Upload, lines: Iterable[tuple[int, bytes | None]]) -> None:
    """As `upload`, but all lines are taken in or none: raises a problem with the bad ones, when there are any.

    The lines are staged in the store as they come, where nobody sees them, and committed at the end.
    """
    store, batch, token = shared.store, done.id, new_id()
    try:
        done.join(store.batches.options(batch))
        _stage(shared, token, done, _chunks(_jobs(shared, done, lines)))
        staged, done.accepted = done.accepted, 0
        acted = store.uploads.commit(token, batch, staged, done.options, most=shared.pressure.limit(0))
    except NoRoom as error:
        with suppress(StoreUnavailable):
            store.uploads.discard(token)
        raise shared.pressure.refused(**done.view()) from error
    except WorkRefused as error:
        raise unavailable(REFUSED, **done.view()) from error
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store went away: all lines were taken in, or none. Send the same upload again with ?id={batch}."
        ) from error
    done.accepted = acted.affected
    done.rejected = acted.clashes
    done.known += staged - acted.affected - acted.clashes
    if acted.admit_hint:
        shared.send(SUBMIT)


def _stage(shared: Services, token: str, done: Upload, chunks: Iterable[list[tuple[int, NewJob]]]) -> None:
    store, whole = shared.store, False
    try:
        for chunk in chunks:
            if done.rejected:
                continue  # only to find what else is wrong
            jobs = [job for _, job in chunk]
            outcomes = store.uploads.stage(token, jobs, most=shared.pressure.limit(_size(jobs)))
            if not done.count_all(chunk, shared.hide_foreign(jobs, outcomes)):
                done.accepted = 0
                raise shared.pressure.refused(**done.view())
        whole = done.rejected == 0
    finally:
        if not whole:
            done.accepted = 0
            with suppress(StoreUnavailable):  # it expires by itself then
                store.uploads.discard(token)
    if not whole:
        raise ProblemError(422, "Nothing was enqueued: some lines are refused. Correct them.", **done.view())


def _size(jobs: Iterable[NewJob]) -> int:
    return sum(len(job.text) for job in jobs)


def _jobs(shared: Services, done: Upload, lines: Iterable[tuple[int, bytes | None]]) -> Iterator[tuple[int, NewJob]]:
    settings = shared.settings
    limit = settings.max_body
    for number, line in lines:
        if line is None:
            done.refuse(number, {"request": [f"is longer than {limit:,} bytes; give images as URLs"]}, [])
            continue
        if not line or line.isspace():
            continue
        try:
            request = shared.load(parse_json(line))
        except RequestInvalid as error:
            done.refuse(number, error.errors, error.codes)
        except BodyInvalid as error:
            done.refuse(number, {"request": [error.reason]}, [])
        else:
            job_id = request.external_task_id or f"{done.id}.{number}"
            try:
                yield number, NewJob.of(request, job_id, settings.lanes, batch_labels=done.options.labels)
            except NoLane as error:
                done.refuse(number, {"model": [str(error)]}, [])


def _chunks(jobs: Iterator[tuple[int, NewJob]]) -> Iterator[list[tuple[int, NewJob]]]:
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
