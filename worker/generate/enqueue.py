"""boomerang.generate, the Celery entry point: record a producer's job and park its message, or return its result."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from celery.exceptions import TaskRevokedError

from jobs import logs
from jobs.errors import JobNotFound, NoLane
from jobs.images.images import Images
from jobs.job import Job
from jobs.links import NO_LINKS, Links
from jobs.new_job import NewJob, Outcome
from jobs.owners import CELERY
from jobs.serializers.jobs import serialize_job
from jobs.states import State
from jobs.store.celery_identity import identity_of
from jobs.store.celery_messages import MOST_PARKED
from jobs.store.outcomes.celery import ParkOutcome, RefusalOutcome
from jobs.store.store import Store
from schemas import EXTERNAL_ID, CallbackRules, RequestInvalid, checked_in, clean, load_request, without_images
from worker.errors import GenerationFailed, GenerationRefused, MessageUnfinished
from worker.messages import Messages

#: `settled_by` of a job that expired before it was submitted.
NOT_BEGUN = "expires_in"
POSITIONAL = (
    "boomerang.generate takes no positional arguments. Pass the request by name, and make the signature immutable "
    "(immutable=True, .si()) if another task comes before it."
)

#: A continuation that cannot be written as JSON, because something in it is nested some hundred levels deep.
TOO_DEEP = ""

log = logging.getLogger(__name__)
_NESTED = (
    "The request, or the tasks that follow this one with their arguments, are nested too deep. Nest them less, or send "
    "a reference to the data instead."
)
#: Characters of a job's id in a log line.
_LONGEST_ID = 128
_CONFLICT = "external_task_id: {!r} belongs to another request. Use another id, or repeat that request."


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateCall:
    """A call of the task: by a producer, or by the service to finish a parked message (`finishes` is its mark).

    `delay` and `expires_in` are Celery's countdown and expires in seconds from now. `expires_in` may be negative.
    `positional`: how many positional arguments the message has.
    """

    task_id: str
    request: Mapping[str, Any]
    continuation: str
    finishes: str = ""
    positional: int = 0
    delay: float = 0.0
    expires_in: float | None = None

    @property
    def is_bare(self) -> bool:
        """Whether it only asks for a known job."""
        return set(self.request) == {"external_task_id"}

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return str(self.request.get("external_task_id") or self.task_id)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ends: with a job's view or an error. `first_delivery`: its continuation was not called before.

    `mark` is that of the parked message that ends by it. With `refused` no job remembers the message. `attempts`: how
    often its end was begun before.
    """

    outcome: dict[str, Any] | Exception
    first_delivery: bool = True
    job_id: str = ""
    mark: str = ""
    refused: bool = False
    attempts: int = 0


class GenerateHandler:
    """Records a producer's job, and parks its message until the job has ended."""

    def __init__(
        self,
        store: Store,
        messages: Messages,
        images: Images,
        unreachable: Callable[[str], Sequence[str]],
        *,
        allow_private_hosts: bool,
        pass_unknown: bool = False,
        links: Links = NO_LINKS,
    ) -> None:
        self._store = store
        self.unreachable = unreachable
        self._messages = messages
        self._images = images
        self._links = links
        self._allow_private_hosts = allow_private_hosts
        self._pass_unknown = pass_unknown

    def __call__(self, call: GenerateCall) -> Ending | None:
        """Return how the task ends, or None if its message is parked until the job has ended.

        A call with only an `external_task_id` refers to a job that came by Celery, too. The calls that finish parked
        messages do so.
        """
        with logs.about(job=clean(call.job_id, _LONGEST_ID)):
            try:
                if call.positional:
                    return self._refuse(call, TypeError(POSITIONAL))
                # Before the job is enqueued: an error here must not leave a job without its continuation.
                identity = _identity(call)
                if not call.finishes:
                    self._check_continuation(call, identity)
                if call.is_bare:
                    _check_id(call.job_id)
                else:
                    self._enqueue(call)
                return self._park(call, identity)
            except (GenerationRefused, TaskRevokedError) as error:
                return self._refuse(call, error)

    def acknowledge(self, ending: Ending) -> None:
        """Record that the result was stored and the continuation called."""
        if not (ending.first_delivery and ending.mark):
            return
        if ending.refused:
            self._store.celery.end_refusal(ending.mark)
        else:
            self._store.celery.message_finished(ending.job_id, ending.mark)

    def _refuse(self, call: GenerateCall, error: Exception) -> Ending | None:
        """End a message with an error. Its errbacks and chord are called once, although the message may come again."""
        if call.finishes:
            log.warning("task %s: its message is dropped, because its job is gone: %s", call.task_id, error)
            return None
        return self._end_once(call, error)

    def _end_once(self, call: GenerateCall, outcome: dict[str, Any] | Exception) -> Ending:
        """End a message that no job remembers, so that its repeats call nothing again."""
        mark = _refusal_mark(call)
        refusal, begun = self._store.celery.begin_refusal(mark)
        if refusal is RefusalOutcome.BUSY:
            raise MessageUnfinished("another worker is ending it")
        return Ending(outcome, refusal is RefusalOutcome.FIRST, mark=mark, refused=True, attempts=begun)

    def _park(self, call: GenerateCall, identity: str) -> Ending | None:
        job_id = call.job_id
        outcome, mark, begun = self._store.celery.park(
            job_id, call.task_id, call.continuation, call.finishes, identity=identity
        )
        match outcome:
            case ParkOutcome.FINAL | ParkOutcome.FINISHED:
                job = self._known(job_id)
                if not mark:
                    return self._end_once(call, outcome_of(job, self._links))
                return Ending(outcome_of(job, self._links), outcome is ParkOutcome.FINAL, job_id, mark, attempts=begun)
            case ParkOutcome.FOREIGN:
                return Ending(GenerationRefused(str(JobNotFound(job_id))), job_id=job_id, mark=mark, attempts=begun)
            case ParkOutcome.REVOKED:
                self.revoke([call.task_id])
            case ParkOutcome.UNKNOWN if call.is_bare:
                raise GenerationRefused(str(JobNotFound(job_id)))
            case ParkOutcome.UNKNOWN:
                raise GenerationRefused(_CONFLICT.format(job_id))
            case ParkOutcome.FULL:
                raise GenerationRefused(
                    f"external_task_id: {MOST_PARKED} Celery tasks already wait for {job_id!r}. "
                    "Send repeats with the same Celery task id."
                )
        return None

    def revoke(self, task_ids: list[str]) -> tuple[str, ...]:
        """Cancel the jobs of these Celery tasks. Returns the ids of the cancelled jobs."""
        revoked = self._store.celery.revoke(task_ids)
        if revoked.to_deliver:
            self._messages.deliver(revoked.to_deliver)
        if revoked.admit_hint:
            self._messages.admit_hint()
        return revoked.cancelled

    def _known(self, job_id: str) -> Job:
        try:
            return self._store.jobs.get(job_id)
        except JobNotFound as error:
            raise GenerationRefused(str(error)) from None

    def _check_continuation(self, call: GenerateCall, identity: str) -> None:
        try:
            lost = self.unreachable(call.continuation)
        except RecursionError:
            raise GenerationRefused(_NESTED) from None
        # A message that was accepted before is not refused: its broker may have lost a queue for a moment.
        if lost and not self._store.celery.was_accepted(call.job_id, call.task_id, call.continuation, identity):
            raise GenerationRefused("; ".join(lost))

    def _enqueue(self, call: GenerateCall) -> None:
        job_id, settings = call.job_id, self._store.context.settings
        hosts = settings.callback_hosts(CELERY)
        try:
            request = load_request(
                {**call.request, "external_task_id": job_id},
                allow_private_hosts=self._allow_private_hosts,
                pass_unknown=self._pass_unknown,
                callbacks=CallbackRules(settings.callback_ports, hosts),
            )
        except RequestInvalid as error:
            raise _refused(error) from None
        except RecursionError:
            raise GenerationRefused(_NESTED) from None
        request = checked_in(request, partial(self._images.put, owner=CELERY, counts=False))
        try:
            job = NewJob.of(
                request,
                job_id,
                settings.lanes,
                owner=CELERY,
                delay=call.delay,
                notify_unbegun=hosts is not None,
            )
        except NoLane as error:
            raise GenerationRefused(f"model: {error}") from None
        if call.expires_in is not None:
            job = replace(job, expires_in=min(call.expires_in, job.expires_in or call.expires_in))
        reason = self._reason_to_drop(call)
        if reason and not self._store.jobs.get_many([job_id])[0]:
            raise TaskRevokedError(reason)
        enqueued = self._store.jobs.enqueue([job])
        if enqueued.outcomes[0] is Outcome.IMAGELESS:
            raise _refused(without_images(request, self._images.absent))
        if enqueued.outcomes[0] is Outcome.CONFLICT:
            raise GenerationRefused(_CONFLICT.format(job_id))
        if enqueued.admit_hint:
            self._messages.admit_hint()

    def _reason_to_drop(self, call: GenerateCall) -> str:
        """Return why the message must not create a job, or an empty text."""
        if call.expires_in is not None and call.expires_in <= 0:
            return f"{call.task_id} expired before it was recorded"
        return f"{call.task_id} was revoked" if self._store.celery.was_revoked(call.task_id) else ""


def _check_id(job_id: str) -> None:
    if not re.fullmatch(EXTERNAL_ID, job_id):
        raise GenerationRefused(f"external_task_id: {clean(job_id)!r} cannot be the id of a job")


def _identity(call: GenerateCall) -> str:
    if call.continuation == TOO_DEEP:
        raise GenerationRefused(_NESTED)
    try:
        return identity_of(call.continuation)
    except RecursionError:
        raise GenerationRefused(_NESTED) from None


def _refusal_mark(call: GenerateCall) -> str:
    try:
        return identity_of(call.continuation or "{}", call.request)
    except RecursionError:
        return identity_of("{}", {"task_id": call.task_id, "continuation": call.continuation})


def _refused(error: RequestInvalid) -> GenerationRefused:
    return GenerationRefused(
        "; ".join(f"{name}: {' '.join(messages)}" for name, messages in sorted(error.errors.items()))
    )


def outcome_of(job: Job, links: Links) -> dict[str, Any] | Exception:
    """Return the result of an ended job, or the error that says why there is none."""
    if job.state is State.COMPLETED:
        return serialize_job(job, links)
    if job.state is State.CANCELLED or (job.state is State.EXPIRED and job.settled_by == NOT_BEGUN):
        # Celery ends a revoked or expired task with this error.
        revoked: Exception = TaskRevokedError(f"{job.id} was {job.state}" + (f": {job.reason}" if job.reason else ""))
        return revoked
    error = (job.result.error if job.result else None) or {"code": "", "message": job.reason or "no reason given"}
    text = " ".join(part for part in (error.get("code"), error.get("message")) if part)
    return GenerationFailed(f"{job.id} {job.state}: {text}")
