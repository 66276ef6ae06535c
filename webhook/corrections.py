"""Correct many jobs of a batch from the lines of a file: the use case of the page.

Checking and correcting take the same way up to the store. Nothing is stored in between: both read the jobs again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from jobs.errors import JobNotFound, NoLane, NotAllowed
from jobs.job import Job
from jobs.new_job import BatchOptions, NewJob
from jobs.producer_ids import given_id, internal_id, owner_in
from jobs.revision import MOST_REVISIONS
from jobs.serializers.requests import read_request
from jobs.states import State
from jobs.store.chunks import chunks
from jobs.store.forecasts import Block, Forecast
from jobs.store.outcomes.jobs import ReviseOutcome
from jobs.task_names import SUBMIT
from schemas import GenerationRequest, ImageFile, RequestInvalid, without_images
from webhook.access.audit_log import annotate
from webhook.access.auth import caller
from webhook.api.correct import request_for, revise_job
from webhook.api.quotes import forecast_of, image_names, memory_blocks, paused_blocks, stalled_blocks
from webhook.drafts.corrections import Row, corrected
from webhook.http.problems import ProblemError
from webhook.services import Services, services

#: Jobs that one call corrects: some seconds of work. The same file again corrects the others.
MOST_CORRECTED = 2_000


class Outcome(StrEnum):
    """What becomes of a line."""

    CORRECTED = "corrected"  #: the job gets a new revision, and waits
    UNCHANGED = "unchanged"  #: the job has this request already
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Correction:
    """A line with what becomes of it. `revision`: of the job after it; `changes`: the members that differ, as given.

    `why`: the reason where nothing is corrected.
    """

    row: Row
    outcome: Outcome
    why: str = ""
    revision: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file would do. `failed`: jobs that no line names."""

    corrections: Sequence[Correction]
    forecast: Forecast
    blocks: Sequence[Block]
    missing: int


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A job that a line corrects, with its new request; or what becomes of the line otherwise."""

    row: Row
    job: Job | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    instead: Correction | None = None


def check(batch_id: str, rows: Sequence[Row]) -> Checked:
    """Return what `correct` would do with these lines, and what it would cost. Nothing is written, not even images."""
    shared = services()
    batch = shared.store.batches.get(batch_id)
    options = shared.store.batches.options(batch_id) or BatchOptions()
    found, classes, pools, size, named = list[Correction](), Counter[str](), set[str](), 0, set[str]()
    for part in chunks(_wanted(shared, batch_id, rows)):
        news = {each.row.number: _load(shared, each, options) for each in part if each.instead is None}
        absent = _absent(shared, [new for new, _ in news.values() if isinstance(new, NewJob)])
        for each in part:
            new, images = news.get(each.row.number, (None, frozenset[str]()))
            if each.job and each.job.batch == batch_id and each.job.state is State.FAILED:
                named.add(each.job.id)
            if isinstance(new, NewJob) and (missing := absent & set(image_names([new])) - images):
                request = GenerationRequest.from_text(new.text)
                new = _explain(without_images(request, missing.intersection))
            if isinstance(new, NewJob):
                classes[new.price_class] += 1
                pools.add(new.pool)
                size += len(new.text)
            found.append(each.instead or _result(each, new if isinstance(new, str) else ""))
    forecast = forecast_of(shared, batch.owner, classes, pools, options, batch=batch)
    blocks = [
        *forecast.blocks,
        *memory_blocks(shared, size, batch.owner),
        *paused_blocks(batch),
        *stalled_blocks(shared),
    ]
    annotate(dry_run="yes", **_counts(found))
    return Checked(found, forecast, blocks, max(0, batch.counts[State.FAILED] - len(named)))


def correct(batch_id: str, rows: Sequence[Row], key: str) -> list[Correction]:
    """Correct the jobs of a batch, and queue them again. Return what became of each line.

    A repeat with the same `key` makes no further revision, also of a job that was corrected again in between.
    """
    shared = services()
    options = shared.store.batches.options(batch_id) or BatchOptions()
    done, hint, full = list[Correction](), False, ""
    try:
        for each in _wanted(shared, batch_id, rows):
            if each.instead or each.job is None:
                done.append(each.instead or _refused(each.row, "is not a job of this batch"))
                continue
            if full:
                done.append(_refused(each.row, full))
                continue
            try:
                wanted = shared.load(each.request)
                revised = revise_job(each.job, request_for(each.job, wanted, each.job.id, options), key)
            except (RequestInvalid, ProblemError, NotAllowed, NoLane, JobNotFound) as error:
                done.append(_refused(each.row, _explain(error)))
                if isinstance(error, ProblemError) and error.status == HTTPStatus.TOO_MANY_REQUESTS:
                    full = _explain(error)
                continue
            hint = hint or revised.admit_hint
            done.append(_result(each, "", repeated=revised.outcome is ReviseOutcome.SAME))
    finally:
        if hint:
            shared.send(SUBMIT)
        annotate(**_counts(done))
    return done


def _wanted(shared: Services, batch_id: str, rows: Sequence[Row]) -> Iterator[_Wanted]:
    """Read the jobs that lines name, in chunks, and combine each with its line. The first MOST_CORRECTED are used."""
    owner, used = owner_in(batch_id) or shared.store.batches.owner(batch_id) or "", 0
    for part in chunks(iter(rows)):
        jobs = _jobs(shared, [row.id for row in part if not row.problem], owner)
        for row in part:
            each = _combine(row, jobs.get(row.id), batch_id)
            if each.instead is None:
                used += 1
                if used > MOST_CORRECTED:
                    why = f"is beyond {MOST_CORRECTED:,} corrections at once: upload the file again for the others"
                    each = _Wanted(row, each.job, instead=_refused(row, why))
            yield each


def _jobs(shared: Services, named: Sequence[str], owner: str) -> dict[str, Job | None]:
    """Read a producer's jobs by the ids that lines name; an id may have the producer's name after it."""
    own = [each for each in named if owner_in(each) in (None, owner)]
    ids = [internal_id(given_id(each), owner) for each in own]
    found = dict(zip(own, shared.store.jobs.get_many(ids, text=True), strict=True))
    # Version 1 recorded a job under the given id.
    rest = [name for name, job in found.items() if job is None and owner_in(name) is None]
    return found | dict(zip(rest, shared.store.jobs.get_many(rest, text=True) if rest else (), strict=True))


def _combine(row: Row, job: Job | None, batch_id: str) -> _Wanted:
    def refused(why: str) -> _Wanted:
        return _Wanted(row, job, instead=_refused(row, why))

    if row.problem or job is None or job.batch != batch_id:
        return refused(row.problem or "is not a job of this batch")
    before = read_request(job, job.text or "")
    request = corrected(before or {}, row.members)
    if request == before:
        again = job.revision > 1 and job.state is not State.FAILED
        why = f"has this request already, as revision {job.revision}" if again else "has the same request as before"
        return _Wanted(row, job, instead=Correction(row, Outcome.UNCHANGED, why, job.revision))
    if before is None:
        return refused("has a stored request that cannot be read: correct it on the job's page")
    if why := _why_not(job):
        return refused(why)
    changes = {name: value for name, value in request.items() if value != before.get(name)}
    return _Wanted(row, job, request, changes)


def _why_not(job: Job) -> str:
    """Return why the request of a job may not be corrected; "": it may, as far as its record says."""
    if job.state is not State.FAILED:
        return f"is {job.state.value.replace('_', ' ')}, not failed"
    if job.revision >= MOST_REVISIONS:
        return f"has {MOST_REVISIONS} revisions already, the most: enqueue it under another id"
    return ""


def _load(shared: Services, each: _Wanted, options: BatchOptions) -> tuple[NewJob | str, frozenset[str]]:
    """Return the corrected job, and the hashes of images that come with it; or what is wrong with its request."""
    images = set[str]()

    def note(file: ImageFile) -> None:
        images.add(file.hash)

    if each.job is None:
        return "is not a job of this batch", frozenset()
    try:
        return request_for(each.job, shared.load(each.request, put=note), each.job.id, options), frozenset(images)
    except (RequestInvalid, NoLane) as error:
        return _explain(error), frozenset()


def _absent(shared: Services, news: Sequence[NewJob]) -> set[str]:
    named = set(image_names(news))
    return shared.images.absent(named, caller().owner) if named else set()


def _result(each: _Wanted, why: str, *, repeated: bool = False) -> Correction:
    if why:
        return _refused(each.row, why)
    revision = each.job.revision + (not repeated) if each.job else None
    outcome = Outcome.UNCHANGED if repeated else Outcome.CORRECTED
    return Correction(
        each.row, outcome, "was corrected by this form before" if repeated else "", revision, each.changes
    )


def _refused(row: Row, why: str) -> Correction:
    return Correction(row, Outcome.REFUSED, why)


def _explain(error: Exception) -> str:
    errors: Any = getattr(error, "errors", None)
    if isinstance(errors, Mapping) and errors:
        return "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in errors.items())
    return error.detail if isinstance(error, ProblemError) else str(error)


def _counts(corrections: Sequence[Correction]) -> dict[str, int]:
    found = Counter(each.outcome for each in corrections)
    return {outcome.value: found[outcome] for outcome in Outcome}
