"""boomerang.submit: claim admitted jobs, POST them at once, record what became of each."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass

from jobs import logs
from jobs.errors import ImageNotFound, RecordDamaged, StoreUnavailable
from jobs.fields import is_text
from jobs.job import Claim, Result
from jobs.lane_health import Reachability
from jobs.policy import ATTEMPT_BASE, ATTEMPT_CAP, MOST_SUBMIT_TRIES, backoff
from jobs.states import State
from jobs.store.store import Store
from schemas import GenerationRequest, TaskError, references
from worker.holds import hold
from worker.provider import Created, Doubtful, Exists, Held, NotCreated, NotSent, Provider, Refused, Submitted
from worker.provider.image_cache import NoRoom, Pictures
from worker.settings import LEASE_MARGIN, Settings

log = logging.getLogger(__name__)

#: Seconds until a job is tried again whose images could not be had; up to twice that, so that not all come at once.
IMAGES_AWAY = 5.0


@dataclass(frozen=True, slots=True)
class _TooLate:
    """The lease was nearly over before the POST began: not sent, and not to be sent under this claim."""


@dataclass(frozen=True, slots=True)
class _NoImages:
    """The image store does not answer: not sent."""

    reason: str


_Outcome = Submitted | _TooLate | _NoImages


class Submitter:
    """Sends attempts. `clock` is monotonic, in seconds; it runs on while the process is stopped."""

    def __init__(
        self,
        store: Store,
        providers: Mapping[str, Provider],
        settings: Settings,
        executor: Executor,
        *,
        pictures: Pictures,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._providers = providers
        self._executor = executor
        self._pictures = pictures
        self._clock = clock
        longest_post = settings.connect_timeout + settings.read_timeout
        self._patience = settings.submit_lease - longest_post - LEASE_MARGIN / 2

    def __call__(self, ids: Sequence[str]) -> list[Claim]:
        """Submit those of these jobs that are still to be submitted. Returns them."""
        # Taken before the claim: the lease cannot begin earlier than this.
        latest = self._clock() + self._patience
        claims = self._store.attempts.claim(ids)
        under_way = {self._executor.submit(self._send, claim, latest): claim for claim in claims}
        while under_way:
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            self._record([(under_way.pop(each), each) for each in done])
        return claims

    def _send(self, claim: Claim, latest: float) -> _Outcome:
        with _about(claim):
            return self._sent(claim, latest)

    def _sent(self, claim: Claim, latest: float) -> _Outcome:
        try:
            if not is_text(claim.text):
                raise ValueError("not UTF-8")  # noqa: TRY301 - as what cannot be read otherwise
            request = GenerationRequest.from_text(claim.text)
            digests = set(references(request).values())
        except (ValueError, KeyError, TypeError, AttributeError):
            # It would fail again whenever it was tried.
            return Refused(TaskError("", "the request stored with the job cannot be read; enqueue it again"))
        if not digests:
            return self._post(claim, request, {}, latest)
        try:
            with self._pictures.held(digests, latest - self._clock()) as images:
                return self._post(claim, request, images, latest)
        except NoRoom:
            return _TooLate()
        except ImageNotFound as error:
            return Refused(TaskError("image_not_found", str(error)))
        except StoreUnavailable as error:
            return _NoImages(str(error))

    def _post(
        self, claim: Claim, request: GenerationRequest, images: Mapping[str, bytes], latest: float
    ) -> Submitted | _TooLate:
        if self._clock() > latest:
            return _TooLate()
        try:
            return self._providers[claim.lane].submit(request, claim.external_task_id, images)
        except Exception as error:
            # Not the outcome of this one, nor those of its neighbours in the message, may get lost by it.
            log.exception("job %s: a submission failed in a way that is not foreseen", claim.id)
            return Doubtful(f"an error of our own: {type(error).__name__}")

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
                        # What became of the others is still to be recorded.
                        log.error("job %s: %s was not recorded: %s", claim.id, type(outcome).__name__, error)  # noqa: TRY400
        for (job_id, fence, _), taken in zip(started, self._store.attempts.mark_many_in_progress(started), strict=True):
            if not taken:
                with logs.about(job=job_id):
                    log.info("job %s: the answer under fence %s came after its lease, or a callback", job_id, fence)

    def _record_other(self, claim: Claim, outcome: _Outcome) -> None:
        store, held = self._store, (claim.id, claim.fence)
        match outcome:
            case Exists(reason):
                store.attempts.mark_in_doubt(
                    *held, f"the provider has it already ({reason})", exists=True, heard=Reachability.ANSWER
                )
            case Doubtful(reason, silent):
                log.info("job %s: in doubt: %s", claim.id, reason)
                store.attempts.mark_in_doubt(
                    *held, reason, heard=Reachability.SILENCE if silent else Reachability.NOTHING
                )
            case Held(reason):
                hold(store, claim.lane, outcome)
                store.attempts.requeue(*held, reason)
            case NotSent(reason):
                store.attempts.requeue(*held, f"the provider cannot be reached: {reason}", heard=Reachability.SILENCE)
            case _TooLate():
                store.attempts.requeue(*held, "")
            case _NoImages(reason):
                log.warning("job %s: not sent: %s", claim.id, reason)
                wait = IMAGES_AWAY * (1 + secrets.randbelow(1000) / 1000)
                store.attempts.requeue(*held, f"not sent: {reason}", wait=wait)
            case Refused(error):
                self._fail(claim, error)
            case NotCreated(error):
                self._try_again(claim, error)

    def _try_again(self, claim: Claim, error: TaskError) -> None:
        if claim.submit_tries + 1 >= MOST_SUBMIT_TRIES:
            self._fail(claim, TaskError(error.code or "not_created", error.message))
            return
        delay = backoff(ATTEMPT_BASE, ATTEMPT_CAP, claim.submit_tries, secrets.randbelow(1000) / 1000)
        reason = f"not created: {error.message}"
        self._store.attempts.requeue(claim.id, claim.fence, reason, wait=delay, count=True, heard=Reachability.ANSWER)

    def _fail(self, claim: Claim, error: TaskError) -> None:
        result = Result(error={"code": error.code, "message": error.message})
        self._store.attempts.finish(claim.external_task_id, State.FAILED, result, "submit", fence=claim.fence)


def _about(claim: Claim) -> AbstractContextManager[None]:
    return logs.about(job=claim.id, attempt=claim.attempt, lane=claim.lane)
