"""Jobs as producers and operators see them: enqueue, read, list, cancel, pause, retry and delete."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobs.connections.errors import translate_errors
from jobs.errors import JobNotFound, NotAllowed, RecordDamaged
from jobs.job import Job
from jobs.job_filter import ALL_JOBS, JobFilter
from jobs.new_job import BatchOptions, NewJob, Outcome
from jobs.owners import ANYONE
from jobs.policy import RECHECK
from jobs.producer_ids import internal_id
from jobs.read_models import Count, Page
from jobs.result import Result
from jobs.room import Room
from jobs.states import State
from jobs.store.arguments import flag, job_arguments, within
from jobs.store.context import StoreContext
from jobs.store.job_lists import count_jobs, count_under_way, list_jobs
from jobs.store.liveness import PULSE
from jobs.store.outcomes.jobs import CancelOutcome, PauseOutcome, RetryOutcome
from jobs.store.records import BESIDE, known_job, read_job, read_result
from jobs.store.spending import DAYS_KEPT
from jobs.store.transitions import TransitionResult, read_transition
from jobs.store.wait_reasons import why_job
from jobs.units import duration_micros

log = logging.getLogger(__name__)

#: Seconds between two reads of a job while a caller waits for its end: the message about its end may get lost.
WAIT_RECHECK = 2.0


@dataclass(frozen=True, slots=True)
class Enqueued:
    """An outcome for each job, in order; `admit_hint`: send an admission hint."""

    outcomes: tuple[Outcome, ...]
    admit_hint: bool


class Jobs:
    """The verbs for single jobs. All raise `StoreUnavailable`."""

    def __init__(self, context: StoreContext) -> None:
        self._client = context.client
        self._keys = context.keys
        self._scripts = context.scripts
        self._context = context

    def enqueue(
        self,
        jobs: Sequence[NewJob],
        batch: str | None = None,
        options: BatchOptions | None = None,
        *,
        caller: str = "",
        room: Room | None = None,
    ) -> Enqueued:
        """Accept jobs in one atomic step, at most a few hundred per call. Creates the `batch`, even an empty one.

        `options` apply only if the call creates the batch. A job is known (`Outcome.KNOWN`) only to its owner, or if
        `caller` is `ANYONE`. `room`: limits of unfinished jobs, above which new jobs
        are refused (`Outcome.FULL`).
        """
        facts = (options or BatchOptions()).to_script_json()
        hint, *outcomes = self._scripts.call(
            "enqueue", batch or "", facts, duration_micros(RECHECK), within(room), caller, *job_arguments(jobs)
        )
        return Enqueued(tuple(map(Outcome, outcomes)), bool(hint))

    # --- read -------------------------------------------------------------------------------------------------------

    def get(self, job_id: str, *, text: bool = False) -> Job:
        """Read a job; `text`: with its request, which may hold images. Raises `JobNotFound` and `RecordDamaged`."""
        return known_job(job_id, self.inspect_many([job_id], text=text)[0])

    def show(self, job_id: str, *, text: bool = False) -> Job:
        """Read a job with the reason why it waits; `text`: with its request. Raises `JobNotFound` and `RecordDamaged`.

        Takes one round trip, and for a waiting job another one.
        """
        beside = (*BESIDE, "text") if text else BESIDE
        row, pulse = self._scripts.call_beside(lambda pipe: self._read_row(pipe, job_id, beside), PULSE)
        return self.with_reason(known_job(job_id, read_job(job_id, row, beside)), pulse)

    def with_reason(self, job: Job, pulse: Any = None) -> Job:
        """Return the job with the reason why it waits. `pulse`: the signs of life, if they were read before."""
        return (
            job if job.state.final else replace(job, reason=why_job(self._scripts, self._context.settings, job, pulse))
        )

    def get_many(self, ids: Sequence[str], *, text: bool = False) -> list[Job | None]:
        """Read several jobs in one round trip: None for an unknown id, or for a damaged record, which is logged."""
        found: list[Job | None] = []
        for job in self.inspect_many(ids, text=text):
            if isinstance(job, RecordDamaged):
                log.warning("left out: %s", job)
            found.append(None if isinstance(job, RecordDamaged) else job)
        return found

    @translate_errors()
    def inspect_many(self, ids: Sequence[str], *, text: bool = False) -> list[Job | RecordDamaged | None]:
        """Read several jobs in one round trip: None for an unknown id, `RecordDamaged` for a damaged record."""
        beside = (*BESIDE, "text") if text else BESIDE
        with self._client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                self._read_row(pipe, job_id, beside)
            answers = pipe.execute(raise_on_error=False)
        step = 1 + len(beside)
        rows = [answers[start : start + step] for start in range(0, len(answers), step)]
        return [read_job(job_id, row, beside) for job_id, row in zip(ids, rows, strict=True)]

    def _read_row(self, pipe: Any, job_id: str, beside: Sequence[str]) -> None:
        """Read the record, and what is stored beside it."""
        pipe.hgetall(self._keys.member("job", job_id))
        for name in beside:
            pipe.get(self._keys.member(name, job_id))

    def owners(self, ids: Sequence[str]) -> list[str | None]:
        """Read the name of the API key that each job came with ('': none); None for an unknown id."""
        if not ids:
            return []
        return [None if name is None else str(name) for name in self._scripts.call("owners", *ids)]

    def find(self, given: str, owner: str) -> str | None:
        """Return the id of a producer's job by the id that the producer gave; None if there is none.

        Raises `RecordDamaged` if it cannot be read whose job it is.
        """
        ids = list(dict.fromkeys((internal_id(given, owner), given)))  # version 1 recorded it under the given id
        owners = self.owners(ids)
        if owner not in owners:
            owners = [self.owners([each])[0] for each in ids]
        return next((each for each, name in zip(ids, owners, strict=True) if name == owner), None)

    def results(self, ids: Sequence[str]) -> list[Result | None]:
        """Read results in one round trip, without the records; None where no result can be read."""
        if not ids:
            return []
        with translate_errors():
            texts = self._client.mget([self._keys.member("result", job_id) for job_id in ids])
        return [read_result(job_id, text) for job_id, text in zip(ids, texts, strict=True)]

    @translate_errors()
    def get_texts(self, ids: Sequence[str]) -> list[str | None]:
        """Read the requests of several jobs in one round trip, each up to 90 KB; None for an unknown id."""
        texts: Any = self._client.mget([self._keys.member("text", job_id) for job_id in ids]) if ids else ()
        return [None if text is None else str(text) for text in texts]

    @translate_errors()
    def get_text(self, job_id: str) -> str | None:
        """Read only the request of a job, as it is stored; None if there is none."""
        text = self._client.get(self._keys.member("text", job_id))
        return None if text is None else str(text)

    @translate_errors()
    def wait(self, job_id: str, seconds: float, gives_up: Callable[[], bool] = lambda: False) -> Job:
        """Wait until the job has ended, at most so many seconds; return its state then. Raises `JobNotFound`.

        `gives_up` ends the wait earlier, within `WAIT_RECHECK` seconds.
        """
        job = self.get(job_id)
        end = time.monotonic() + seconds
        if job.state.final or seconds <= 0:
            return job
        with self._client.pubsub(ignore_subscribe_messages=True) as ended:  # type: ignore[no-untyped-call]
            ended.subscribe(self._keys.member("ended", job_id))
            # Read the job again once the subscription is confirmed: from then on its end cannot be missed.
            ended.get_message(ignore_subscribe_messages=False, timeout=min(seconds, WAIT_RECHECK))
            while not (job := self.get(job_id)).state.final and (left := end - time.monotonic()) > 0:
                if gives_up():
                    break
                ended.get_message(timeout=min(left, WAIT_RECHECK))
        return job

    def page(self, only: JobFilter = ALL_JOBS, *, cursor: str | None = None, limit: int = 100) -> Page:
        """List jobs: those of a batch in input order, others newest first. `cursor` comes from the previous page."""
        return list_jobs(self._context, self.get_many, only, cursor, limit)

    def count(self, only: JobFilter = ALL_JOBS, *, most: int | None = None) -> Count:
        """Count the jobs that meet the filter. Where there is no counter for it, `most` records are checked."""
        return count_jobs(self._context, only, most)

    def count_under_way(self, owner: str) -> dict[State, Count]:
        """Count an owner's jobs by state, of those that a worker or the provider has."""
        return count_under_way(self._context, owner)

    # --- change -----------------------------------------------------------------------------------------------------

    def cancel(self, job_id: str, *, caller: str = ANYONE, by: str = "") -> TransitionResult[CancelOutcome]:
        """Cancel a job of the caller. Raises `JobNotFound`, and `NotAllowed` if it has ended otherwise.

        `by`, here and below: the id of the key, for the timeline.
        """
        cancelled = read_transition(CancelOutcome, self._scripts.call("cancel", job_id, caller, by))
        if cancelled.outcome is CancelOutcome.UNKNOWN:
            raise JobNotFound(job_id)
        if cancelled.outcome is CancelOutcome.REFUSED:
            raise NotAllowed(f"The job is {cancelled.state} already; there is nothing left to cancel.")
        return cancelled

    def pause(self, job_id: str, *, caller: str = ANYONE, by: str = "") -> TransitionResult[PauseOutcome]:
        """Keep a queued job from being sent until it is resumed. Raises `JobNotFound` or `NotAllowed`."""
        return self._pause(job_id, caller, by, pause=True)

    def resume(self, job_id: str, *, caller: str = ANYONE, by: str = "") -> TransitionResult[PauseOutcome]:
        """Return a paused job to its old place in the queue. Raises `JobNotFound` or `NotAllowed`."""
        return self._pause(job_id, caller, by, pause=False)

    def _pause(self, job_id: str, caller: str, by: str, *, pause: bool) -> TransitionResult[PauseOutcome]:
        paused = read_transition(PauseOutcome, (*self._scripts.call("pause_job", job_id, flag(pause), caller, by), 0))
        if paused.outcome is PauseOutcome.UNKNOWN:
            raise JobNotFound(job_id)
        if paused.outcome is PauseOutcome.REFUSED:
            raise NotAllowed(
                f"The job is {paused.state}: only one that waits can be paused. What the provider has goes on; "
                "cancel it if you do not want it any more."
                if pause
                else f"The job is {paused.state}, not paused; there is nothing to resume."
            )
        return paused

    def retry(self, job_id: str, *, caller: str = ANYONE, by: str = "") -> TransitionResult[RetryOutcome]:
        """Queue a failed, expired or cancelled job again. Raises `JobNotFound` or `NotAllowed`."""
        retried = read_transition(
            RetryOutcome, (*self._scripts.call("retry", job_id, duration_micros(RECHECK), caller, by), 0)
        )
        if retried.outcome is RetryOutcome.UNKNOWN:
            raise JobNotFound(job_id)
        if retried.outcome is RetryOutcome.REFUSED:
            raise NotAllowed("The job is completed. To pay for its images once more, POST /v1/jobs/<id>/regenerate.")
        if retried.outcome is RetryOutcome.HAS_OUTPUT:
            raise NotAllowed(
                "The job was cancelled, but its images were generated and paid for: they are its output. "
                "For more, enqueue it under another external_task_id."
            )
        if retried.outcome is RetryOutcome.IMAGELESS:
            raise NotAllowed(
                "An image of the job is not kept any more. Upload the same file with POST /v1/images, then retry; "
                "or enqueue the request with the image itself, under another external_task_id."
            )
        if retried.outcome is RetryOutcome.WORKING:
            raise NotAllowed(
                f"The job is {retried.state}, but the provider may still be working on it: "
                "sending it again could be paid twice. Try again once the provider is done with it."
            )
        return retried

    def purge(self, limit: int = 200) -> tuple[int, int]:
        """Delete jobs and batches that ended before the retention, at most `limit`; return how many (jobs, batches)."""
        jobs, batches = self._scripts.call(
            "purge", duration_micros(self._context.configured.retention), limit, DAYS_KEPT
        )
        return int(jobs), int(batches)
