"""boomerang.submit: claim admitted jobs, POST them concurrently, and record each outcome."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass

from jobs import logs
from jobs.claims import Claim
from jobs.errors import ImageNotFound, RecordDamaged, StoreUnavailable
from jobs.failures import IMAGE_NOT_FOUND, NOT_CREATED, UNREADABLE_ANSWER
from jobs.fields import is_text
from jobs.jitter import Random, draw, equal_jitter
from jobs.lane_health import Reachability
from jobs.policy import MOST_SUBMIT_TRIES, next_submit
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from schemas import GenerationRequest, TaskError, references
from worker.answers import reachability, unreadable
from worker.breaker import hold
from worker.provider import Created, Doubtful, Exists, Held, NotCreated, NotSent, Provider, Refused, SubmitOutcome
from worker.provider.image_cache import ImageCache, ImageCacheFull
from worker.settings import LEASE_MARGIN, Settings

log = logging.getLogger(__name__)

#: Seconds, before jitter, until a job whose images could not be fetched is submitted again.
IMAGES_RETRY = 10.0


@dataclass(frozen=True, slots=True)
class _TooLate:
    """Not sent: too little of the lease was left when the POST should have begun."""


@dataclass(frozen=True, slots=True)
class _ImagesUnavailable:
    """Not sent: the image store does not answer."""

    reason: str


_Outcome = SubmitOutcome | _TooLate | _ImagesUnavailable


class Submitter:
    """Submits attempts. `clock` is monotonic, in seconds, and must not stop while the process is suspended."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        settings: Settings,
        executor: Executor,
        *,
        images: ImageCache,
        clock: Callable[[], float] = time.monotonic,
        random: Random = draw,
    ) -> None:
        self._store = store
        self._providers = providers
        self._executor = executor
        self._images = images
        self._clock = clock
        self._random = random
        longest_post = settings.connect_timeout + settings.read_timeout
        self._patience = settings.submit_lease - longest_post - LEASE_MARGIN / 2

    def __call__(self, ids: Sequence[str]) -> list[Claim]:
        """Submit those of these jobs that can still be claimed. Returns their claims."""
        # Computed before the claim, because the lease cannot begin earlier.
        latest = self._clock() + self._patience
        claims = self._store.attempts.claim(ids)
        in_progress = {self._executor.submit(self._send, claim, latest): claim for claim in claims}
        while in_progress:
            done, _ = wait(in_progress, return_when=FIRST_COMPLETED)
            self._record([(in_progress.pop(each), each) for each in done])
        return claims

    def _send(self, claim: Claim, latest: float) -> _Outcome:
        with _about(claim):
            return self._submit_claim(claim, latest)

    def _submit_claim(self, claim: Claim, latest: float) -> _Outcome:
        try:
            if not is_text(claim.text):
                raise ValueError("not UTF-8")  # noqa: TRY301 - as what cannot be read otherwise
            request = GenerationRequest.from_text(claim.text)
            digests = set(references(request).values())
        except (ValueError, KeyError, TypeError, AttributeError):
            # A repeat would fail again.
            return Refused(TaskError("", "the request stored with the job cannot be read; enqueue it again"))
        if not digests:
            return self._post(claim, request, {}, latest)
        try:
            with self._images.borrow(digests, latest - self._clock()) as images:
                return self._post(claim, request, images, latest)
        except ImageCacheFull:
            return _TooLate()
        except ImageNotFound as error:
            return Refused(TaskError(IMAGE_NOT_FOUND, str(error)))
        except StoreUnavailable as error:
            return _ImagesUnavailable(str(error))

    def _post(
        self, claim: Claim, request: GenerationRequest, images: Mapping[str, bytes], latest: float
    ) -> SubmitOutcome | _TooLate:
        if self._clock() > latest:
            return _TooLate()
        try:
            return self._providers[claim.lane].submit(request, claim.external_task_id, images)
        except Exception as error:
            # Neither this outcome nor those of the other jobs of the message may get lost.
            log.exception("job %s: in doubt: the submission failed with an unexpected error", claim.id)
            return Doubtful(f"an error in the worker: {type(error).__name__}")

    def _record(self, done: Sequence[tuple[Claim, "Future[_Outcome]"]]) -> None:
        started = []
        for claim, future in done:
            outcome = future.result()
            if isinstance(outcome, Created):
                started.append((claim.id, claim.fence, outcome.task_id))
            else:
                with _about(claim):
                    try:
                        self._record_other(claim, outcome)
                    except RecordDamaged as error:
                        # The outcomes of the other jobs must still be recorded.
                        log.error("job %s: its outcome %s is not recorded: %s", claim.id, type(outcome).__name__, error)  # noqa: TRY400
        for (job_id, fence, _), taken in zip(started, self._store.attempts.mark_many_in_progress(started), strict=True):
            if not taken:
                with logs.about(job=job_id):
                    log.info(
                        "job %s: its task id is not recorded: a callback or the end of the lease came first (fence %s)",
                        job_id,
                        fence,
                    )

    def _record_other(self, claim: Claim, outcome: _Outcome) -> None:
        store, held = self._store, (claim.id, claim.fence)
        match outcome:
            case Exists(reason, error):
                self._check(claim, f"the provider already has it ({reason})", error, exists=True)
            case Doubtful():
                self._look_up(claim, outcome)
            case Held(reason):
                hold(store, claim.lane, outcome)
                store.attempts.requeue(*held, reason)
            case NotSent(reason):
                store.attempts.requeue(
                    *held, f"the provider cannot be reached: {reason}", reachability=Reachability.SILENCE
                )
            case _TooLate():
                store.attempts.requeue(*held, "")
            case _ImagesUnavailable(reason):
                log.warning("job %s: not sent: %s", claim.id, reason)
                wait = equal_jitter(IMAGES_RETRY, self._random())
                store.attempts.requeue(*held, f"not sent: {reason}", wait=wait)
            case Refused(error, may_exist):
                self._fail(claim, error, may_exist=may_exist)
            case NotCreated(error):
                self._retry_or_fail(claim, error)

    def _look_up(self, claim: Claim, outcome: Doubtful) -> None:
        """Look the task up. After the last answer that cannot be read, the job fails if there is none."""
        log.info("job %s: in doubt: %s", claim.id, outcome.reason)
        refusal = None
        if outcome.seen is not None:
            log.warning("job %s: %s", claim.id, unreadable(outcome.seen))
            if claim.submit_tries + 1 >= MOST_SUBMIT_TRIES:
                refusal = _fields(TaskError(UNREADABLE_ANSWER, outcome.reason))
        self._store.attempts.mark_in_doubt(
            claim.id, claim.fence, outcome.reason, refusal=refusal, reachability=reachability(outcome)
        )

    def _retry_or_fail(self, claim: Claim, error: TaskError) -> None:
        if claim.submit_tries + 1 >= MOST_SUBMIT_TRIES:
            self._fail(claim, TaskError(error.code or NOT_CREATED, error.message))
            return
        delay = next_submit(claim.submit_tries + 1, self._random())
        reason = f"not created: {error.message}"
        self._store.attempts.requeue(
            claim.id, claim.fence, reason, wait=delay, count=True, reachability=Reachability.ANSWER
        )

    def _fail(self, claim: Claim, error: TaskError, *, may_exist: bool = False) -> None:
        """Fail the job, unless the task may exist: then look it up first, or wait for its callback."""
        if claim.maybe_sent or (may_exist and self._providers[claim.lane].can_look_up):
            self._check(claim, f"refused ({error.code or 'no code'}: {error.message}), but the task may exist", error)
            return
        attempts, result = self._store.attempts, Result(error=_fields(error))
        attempts.finish(claim.external_task_id, State.FAILED, result, "submit", fence=claim.fence, refused=True)

    def _check(self, claim: Claim, reason: str, error: TaskError, *, exists: bool = False) -> None:
        """Look the task up before the refusal counts."""
        log.info("job %s: looked up: %s", claim.id, reason)
        self._store.attempts.mark_in_doubt(
            claim.id, claim.fence, reason, exists=exists, refusal=_fields(error), reachability=Reachability.ANSWER
        )


def _fields(error: TaskError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _about(claim: Claim) -> AbstractContextManager[None]:
    return logs.about(job=claim.id, attempt=claim.attempt, lane=claim.lane)
