"""boomerang.generate: the door for services that share the broker. Its body reads the record; no worker waits in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from celery.exceptions import TaskRevokedError

from jobs import logs
from jobs.errors import JobNotFound, NoLane
from jobs.images.images import Images
from jobs.job import Job
from jobs.new_job import NewJob, Outcome
from jobs.serializers import serialize_job
from jobs.states import State
from jobs.store.celery_messages import MOST_PARKED, Parked
from jobs.store.store import Store
from schemas import RequestInvalid, checked_in, load_request, without_images
from worker.errors import GenerationFailed, GenerationRefused
from worker.generate.unrouted import unrouted_tasks
from worker.messages import Messages

#: Who owns the jobs of this door, for fairness and accounts.
OWNER = "celery"
#: What settled a job that expired before it was begun.
UNBEGUN = "expires_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message of a producer, or our own that finishes a parked one (`finishes` is its mark then).

    `delay` and `expires_in` are Celery's countdown and expires, in seconds from now; the latter may be past.
    """

    task_id: str
    request: Mapping[str, Any]
    continuation: str
    finishes: str = ""
    delay: float = 0.0
    expires_in: float | None = None

    @property
    def job_id(self) -> str:
        """The id of the job that it is about."""
        return str(self.request.get("external_task_id") or self.task_id)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ends: with a job's view, or with an error. `news`: what hangs on this message was not called yet."""

    outcome: dict[str, Any] | Exception
    first_delivery: bool = True
    job_id: str = ""
    mark: str = ""


class GenerateHandler:
    """Records a producer's job and parks, or says how it ended."""

    def __init__(self, store: Store, messages: Messages, images: Images, *, allow_private_hosts: bool) -> None:
        self._store = store
        self._messages = messages
        self._images = images
        self._allow_private_hosts = allow_private_hosts

    def __call__(self, asked: Asked) -> Ending | None:
        """None: park, the job is not over.

        With no more than an `external_task_id` it asks for a job that is known: so a parked task is finished.
        """
        with logs.about(job=asked.job_id):
            try:
                if set(asked.request) != {"external_task_id"}:
                    self._enqueue(asked)
                return self._park(asked)
            except (GenerationRefused, TaskRevokedError) as error:
                return Ending(error)

    def acknowledge(self, ending: Ending) -> None:
        """What follows from this ending has been done."""
        if ending.first_delivery and ending.mark:
            self._store.celery.message_finished(ending.job_id, ending.mark)

    def _park(self, asked: Asked) -> Ending | None:
        job_id = asked.job_id
        word, mark = self._store.celery.park(job_id, asked.task_id, asked.continuation, asked.finishes)
        match word:
            case Parked.FINAL | Parked.TOLD:
                return Ending(outcome_of(self._known(job_id)), word is Parked.FINAL, job_id, mark)
            case Parked.REVOKED:
                self.revoke([asked.task_id])
            case Parked.UNKNOWN:
                raise GenerationRefused(str(JobNotFound(job_id)))
            case Parked.FULL:
                raise GenerationRefused(
                    f"external_task_id: {MOST_PARKED} Celery tasks wait for {job_id!r} already; "
                    "send repeats under the same Celery id."
                )
        return None

    def revoke(self, task_ids: list[str]) -> tuple[str, ...]:
        """Cancel the jobs of these Celery tasks, whoever holds them. Returns the ids of the jobs."""
        revoked = self._store.celery.revoke(task_ids)
        if revoked.owing:
            self._messages.deliver(revoked.owing)
        if revoked.admit_hint:
            self._messages.admit_hint()
        return revoked.cancelled

    def _known(self, job_id: str) -> Job:
        try:
            return self._store.jobs.get(job_id)
        except JobNotFound as error:
            raise GenerationRefused(str(error)) from None

    def _enqueue(self, asked: Asked) -> None:
        job_id = asked.job_id
        if lost := unrouted_tasks(asked.continuation):
            raise GenerationRefused(
                f"{', '.join(lost)}: no queue is named, and this service does not know your routes; give every task "
                'that follows its queue: .set(queue="…")'
            )
        try:
            request = load_request(
                {**asked.request, "external_task_id": job_id}, allow_private_hosts=self._allow_private_hosts
            )
        except RequestInvalid as error:
            raise _refused(error) from None
        request = checked_in(request, self._images.put)
        try:
            job = NewJob.of(request, job_id, self._store.context.settings.lanes, owner=OWNER, delay=asked.delay)
        except NoLane as error:
            raise GenerationRefused(f"model: {error}") from None
        if asked.expires_in is not None:
            job = replace(job, expires_in=min(asked.expires_in, job.expires_in or asked.expires_in))
        overtaken = self._overtaken(asked)
        if overtaken and not self._store.jobs.get_many([job_id])[0]:
            raise TaskRevokedError(overtaken)
        enqueued = self._store.jobs.enqueue([job])
        if enqueued.outcomes[0] is Outcome.IMAGELESS:
            raise _refused(without_images(request, self._images.absent))
        if enqueued.outcomes[0] is Outcome.CONFLICT:
            raise GenerationRefused(
                f"external_task_id: {job_id!r} stands for another request already; choose another id, or repeat that."
            )
        if enqueued.admit_hint:
            self._messages.admit_hint()

    def _overtaken(self, asked: Asked) -> str:
        """Why nothing should come of a message any more, unless its job is recorded already."""
        if asked.expires_in is not None and asked.expires_in <= 0:
            return f"{asked.task_id} expired before it was recorded"
        return f"{asked.task_id} was revoked" if self._store.celery.was_revoked(asked.task_id) else ""


def _refused(error: RequestInvalid) -> GenerationRefused:
    return GenerationRefused(
        "; ".join(f"{name}: {' '.join(messages)}" for name, messages in sorted(error.errors.items()))
    )


def outcome_of(job: Job) -> dict[str, Any] | Exception:
    """The result of an ended job, or the error that says why there is none."""
    if job.state is State.COMPLETED:
        return serialize_job(job)
    if job.state is State.CANCELLED or (job.state is State.EXPIRED and job.settled_by == UNBEGUN):
        # As Celery ends a task that was revoked, or whose `expires` has passed.
        revoked: Exception = TaskRevokedError(f"{job.id} was {job.state}" + (f": {job.reason}" if job.reason else ""))
        return revoked
    error = (job.result.error if job.result else None) or {"code": "", "message": job.reason or "no reason given"}
    said = " ".join(part for part in (error.get("code"), error.get("message")) if part)
    return GenerationFailed(f"{job.id} {job.state}: {said}")
