"""From a producer's bytes to jobs in the store: one request, or an upload of as many as there are lines."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ulid import ULID

from jobs.errors import NoLane, StoreUnavailable
from jobs.lanes import LaneSettings
from jobs.order import NewJob
from jobs.store import Outcome, Store
from schemas import BodyInvalid, RequestInvalid, load_request, parse_json
from webhook.problems import ProblemError, unavailable

#: Jobs handed to the store in one step: enough to amortise the round trip, few enough not to hold Redis up.
CHUNK_JOBS = 500
#: Bytes of requests handed over in one step: a line may hold 40 MB of images.
CHUNK_BYTES = 8 * 1024 * 1024
#: Refused lines that an answer lists; the rest is counted.
MOST_ERRORS = 1_000

CONFLICT = (
    "is taken by another request; to send this one give it another id, or send exactly the same request as before"
)


@dataclass
class Upload:
    """What became of the lines so far."""

    id: str
    accepted: int = 0
    known: int = 0
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

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
        elif job.id != f"{self.id}.{number}":
            self.refuse(number, {"external_task_id": [CONFLICT]}, [])
        else:
            raise ProblemError(
                422,
                f"Line {number} is another request than before under this batch's id (or Idempotency-Key). "
                "Send another upload under another one.",
                **self.view(),
            )

    def view(self) -> dict[str, Any]:
        """As `schemas.views.BatchAccepted`."""
        return {
            "id": self.id,
            "accepted": self.accepted,
            "known": self.known,
            "rejected": self.rejected,
            "errors": sorted(self.errors, key=lambda each: int(each["line"])),
        }


def new_id() -> str:
    """An id for a job or batch that came without: ordered by time, safe in a URL, not to be guessed."""
    return str(ULID()).lower()


def upload(
    store: Store,
    batch: str,
    lines: Iterable[tuple[int, bytes | None]],
    *,
    limit: int,
    allow_private_hosts: bool,
    on_wake: Callable[[], object],
) -> Upload:
    """Take in a batch line by line, in chunks; `on_wake` is called when workers should hear of new jobs.

    A bad line is listed and the rest goes on. Nothing is undone where the store goes away midway: the problem that is
    raised tells to send the same again, which finds its earlier lines known.
    """
    done = Upload(batch)
    try:
        store.enqueue(
            [], batch
        )  # the batch is there although all its lines be bad; and a store that is away shows at once
        jobs = _jobs(done, lines, store.settings.lanes, limit=limit, allow_private_hosts=allow_private_hosts)
        for chunk in _chunks(jobs):
            enqueued = store.enqueue([job for _, job in chunk], batch)
            for (number, job), outcome in zip(chunk, enqueued.outcomes, strict=True):
                done.count(number, job, outcome)
            if enqueued.wake:
                on_wake()
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store went away after {done.accepted + done.known} jobs. "
            f"Send the same upload again with ?id={batch}: lines that were taken in make no second job.",
            **done.view(),
        ) from error
    return done


def upload_whole(
    store: Store,
    batch: str,
    lines: Iterable[tuple[int, bytes | None]],
    *,
    limit: int,
    allow_private_hosts: bool,
    on_wake: Callable[[], object],
) -> Upload:
    """As `upload`, but all lines are taken in or none: raises a problem with the bad ones, when there are any.

    The lines are staged in the store as they come, where nobody sees them, and committed at the end.
    """
    done, token = Upload(batch), new_id()
    jobs = _jobs(done, lines, store.settings.lanes, limit=limit, allow_private_hosts=allow_private_hosts)
    try:
        _stage(store, token, done, _chunks(jobs))
        staged, done.accepted = done.accepted, 0
        acted = store.commit(token, batch, staged)
    except StoreUnavailable as error:
        raise unavailable(
            f"The job store went away: all lines were taken in, or none. Send the same upload again with ?id={batch}."
        ) from error
    done.accepted = acted.affected
    done.rejected = acted.clashes
    done.known += staged - acted.affected - acted.clashes
    if acted.wake:
        on_wake()
    return done


def _stage(store: Store, token: str, done: Upload, chunks: Iterable[list[tuple[int, NewJob]]]) -> None:
    whole = False
    try:
        for chunk in chunks:
            if done.rejected:
                continue  # only to find what else is wrong
            for (number, job), outcome in zip(chunk, store.stage(token, [job for _, job in chunk]), strict=True):
                done.count(number, job, outcome)
        whole = done.rejected == 0
    finally:
        if not whole:
            done.accepted = 0
            with suppress(StoreUnavailable):  # it expires by itself then
                store.unstage(token)
    if not whole:
        raise ProblemError(422, "Nothing was enqueued: some lines are refused. Correct them.", **done.view())


def _jobs(
    done: Upload,
    lines: Iterable[tuple[int, bytes | None]],
    lanes: Sequence[LaneSettings],
    *,
    limit: int,
    allow_private_hosts: bool,
) -> Iterator[tuple[int, NewJob]]:
    for number, line in lines:
        if line is None:
            done.refuse(number, {"request": [f"is longer than {limit:,} bytes; give images as URLs"]}, [])
            continue
        if not line or line.isspace():
            continue
        try:
            request = load_request(parse_json(line), allow_private_hosts=allow_private_hosts)
        except RequestInvalid as error:
            done.refuse(number, error.errors, error.codes)
        except BodyInvalid as error:
            done.refuse(number, {"request": [error.reason]}, [])
        else:
            try:
                yield number, NewJob.of(request, request.external_task_id or f"{done.id}.{number}", lanes)
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
